// RUN: PLENA_ROUNDTRIP

// Every op and attribute of the plena dialect (plena.repeat: roll_layers.mlir).

builtin.module {
  func.func @main(%x: tensor<4x6xf32>, %k: tensor<6x3xf32>, %bias: tensor<1x2x1x3xf32>, %padding: tensor<2x3xi64>, %sinks: tensor<2xf32>, %image: tensor<1x2x4x6xf32>, %kernel: tensor<3x8xf32>, %g: tensor<6xf32>, %turns: tensor<2x2xf32>, %part2: tensor<2x6xf32>) {
    %w = plena.parameter @w {plena.module = "mlp"} : tensor<8x6xf32>
    %reshaped = plena.parameter #plena.view<@w, [reshape [48]]> : tensor<48xf32>
    %rearranged = plena.parameter #plena.view<@w, [permute [1, 0], reshape [48]]> : tensor<48xf32>
    %sliced = plena.parameter #plena.view<@w, [slice 0 1 7 2]> : tensor<3x6xf32>
    %concatenated = plena.parameter #plena.concatenated<[@w, @"a name"], 1 : i64> : tensor<8x12xf32>
    %expanded = plena.parameter #plena.view<#plena.full<1.000000e+00 : f64, array<i64: 1>>, [expand [3]]> : tensor<3xf32>
    %product = plena.parameter #plena.product<@w, #plena.sum<@g, #plena.full<1.000000e+00 : f64, array<i64>>>> : tensor<8x6xf32>
    %matvec = plena.parameter #plena.matvec<@w, @g> : tensor<8xf32>
    %mask = plena.parameter #plena.additive_mask<@m> : tensor<5x5xf32>
    %linear = plena.linear %x, %w : (tensor<4x6xf32>, tensor<8x6xf32>) -> tensor<4x8xf32>
    %biased = plena.linear %x, %w, bias = %matvec : (tensor<4x6xf32>, tensor<8x6xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    %several:2 = plena.projections %x : tensor<4x6xf32> weights(%w, %sliced : tensor<8x6xf32>, tensor<3x6xf32>) biases(%matvec, %expanded : tensor<8xf32>, tensor<3xf32>) -> tensor<4x8xf32>, tensor<4x3xf32>
    %alone = plena.projections %x : tensor<4x6xf32> weights(%w : tensor<8x6xf32>) -> tensor<4x8xf32>
    %matmul = plena.matmul %x, %x {batch = 2 : i64, transpose_rhs = true} : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x2xf32>
    %attention = plena.attention %x, %k, %k : tensor<4x6xf32>, tensor<6x3xf32>, tensor<6x3xf32> bias(%bias : tensor<1x2x1x3xf32>) key_padding(%padding : tensor<2x3xi64>) sinks(%sinks : tensor<2xf32>) {batch = 2 : i64, heads = 2 : i64, kv_heads = 1 : i64, scale = 5.000000e-01 : f64, softcap = 3.000000e+01 : f64, band = #plena.band<-1 to *>} -> tensor<4x6xf32>
    %plain = plena.attention %x, %x, %x : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32> {batch = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<4x6xf32>
    %patches = plena.patch_embedding %image, %kernel, bias = %expanded {kernel = array<i64: 2, 2>} : (tensor<1x2x4x6xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<6x3xf32>
    %rms = plena.rms_norm %x, gain = %expanded {eps = 1.000000e-06 : f64, groups = 2 : i64} : (tensor<4x6xf32>, tensor<3xf32>) -> tensor<4x6xf32>
    %layer = plena.layer_norm %x : tensor<4x6xf32> bias(%g : tensor<6xf32>) {eps = 1.000000e-12 : f64} -> tensor<4x6xf32>
    %softmax = plena.softmax %x {groups = 3 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %chosen = plena.route %x {k = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %sum = plena.reduce "sum" over "features" %x {groups = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x2xf32>
    %mean = plena.reduce "mean" over "rows" %x : (tensor<4x6xf32>) -> tensor<1x6xf32>
    %rotary = plena.rotary "half" %x, %turns, %turns {heads = 2 : i64} : (tensor<4x6xf32>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<4x6xf32>
    %both, %keys = plena.rotaries "half"(%x, %rotary : tensor<4x6xf32>, tensor<4x6xf32>) tables(%turns, %turns : tensor<2x2xf32>, tensor<2x2xf32>) {heads = array<i64: 2, 1>} -> tensor<4x6xf32>, tensor<4x6xf32>
    %silu = plena.activation "silu" %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %leaky = plena.activation "leaky_relu" %x {slope = 1.000000e-01 : f64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %gate = plena.gate "gelu_tanh" %x, %silu : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
    %add = plena.add %x, %g : (tensor<4x6xf32>, tensor<6xf32>) -> tensor<4x6xf32>
    %sub = plena.sub %x, %add : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
    %mul = plena.mul %x, %sum : (tensor<4x6xf32>, tensor<4x2xf32>) -> tensor<4x6xf32>
    %div = plena.div %x, %mul : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
    %plus = plena.add_scalar %x, 1.000000e+00 : f64 : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %times = plena.mul_scalar %x, -2.500000e-01 : f64 : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %clamp = plena.clamp %x {min = 0.000000e+00 : f64, max = 6.000000e+00 : f64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
    %cast = plena.cast %padding : (tensor<2x3xi64>) -> tensor<2x3xf32>
    %compare = plena.compare "ne" %padding, 1.0 : f64 : (tensor<2x3xi64>) -> tensor<2x3xi1>
    %bit = plena.bit %padding : (tensor<2x3xi64>) -> tensor<2x3xi1>
    %reshape = plena.reshape %x : (tensor<4x6xf32>) -> tensor<2x12xf32>
    %moved = plena.rearrange %x {factors = array<i64: 4, 2, 3>, order = array<i64: 1, 0, 2>} : (tensor<4x6xf32>) -> tensor<8x3xf32>
    %part = plena.slice %x {groups = array<i64: 2, 1>, offsets = array<i64: 1, 0>, sizes = array<i64: 1, 3>, strides = array<i64: 1, 2>} : (tensor<4x6xf32>) -> tensor<2x3xf32>
    %joined = plena.concat "rows" %x, %part2 {groups = 2 : i64} : (tensor<4x6xf32>, tensor<2x6xf32>) -> tensor<6x6xf32>
    %repeated = plena.expand %part2 : (tensor<2x6xf32>) -> tensor<3x2x6xf32>
    %rows = plena.embedding %w, %padding : (tensor<8x6xf32>, tensor<2x3xi64>) -> tensor<6x6xf32>
    func.return
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @main(%x: tensor<4x6xf32>, %k: tensor<6x3xf32>, %bias: tensor<1x2x1x3xf32>, %padding: tensor<2x3xi64>, %sinks: tensor<2xf32>, %image: tensor<1x2x4x6xf32>, %kernel: tensor<3x8xf32>, %g: tensor<6xf32>, %turns: tensor<2x2xf32>, %part2: tensor<2x6xf32>) {
// CHECK-NEXT:     %w = plena.parameter @w {plena.module = "mlp"} : tensor<8x6xf32>
// CHECK-NEXT:     %reshaped = plena.parameter #plena.view<@w, [reshape [48]]> : tensor<48xf32>
// CHECK-NEXT:     %rearranged = plena.parameter #plena.view<@w, [permute [1, 0], reshape [48]]> : tensor<48xf32>
// CHECK-NEXT:     %sliced = plena.parameter #plena.view<@w, [slice 0 1 7 2]> : tensor<3x6xf32>
// CHECK-NEXT:     %concatenated = plena.parameter #plena.concatenated<[@w, @"a name"], 1 : i64> : tensor<8x12xf32>
// CHECK-NEXT:     %expanded = plena.parameter #plena.view<#plena.full<1.000000e+00 : f64, array<i64: 1>>, [expand [3]]> : tensor<3xf32>
// CHECK-NEXT:     %product = plena.parameter #plena.product<@w, #plena.sum<@g, #plena.full<1.000000e+00 : f64, array<i64>>>> : tensor<8x6xf32>
// CHECK-NEXT:     %matvec = plena.parameter #plena.matvec<@w, @g> : tensor<8xf32>
// CHECK-NEXT:     %mask = plena.parameter #plena.additive_mask<@m> : tensor<5x5xf32>
// CHECK-NEXT:     %linear = plena.linear %x, %w : (tensor<4x6xf32>, tensor<8x6xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %biased = plena.linear %x, %w, bias = %matvec : (tensor<4x6xf32>, tensor<8x6xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %several, %several_1 = plena.projections %x : tensor<4x6xf32> weights(%w, %sliced : tensor<8x6xf32>, tensor<3x6xf32>) biases(%matvec, %expanded : tensor<8xf32>, tensor<3xf32>) -> tensor<4x8xf32>, tensor<4x3xf32>
// CHECK-NEXT:     %alone = plena.projections %x : tensor<4x6xf32> weights(%w : tensor<8x6xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %matmul = plena.matmul %x, %x {batch = 2 : i64, transpose_rhs = true} : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x2xf32>
// CHECK-NEXT:     %attention = plena.attention %x, %k, %k : tensor<4x6xf32>, tensor<6x3xf32>, tensor<6x3xf32> bias(%bias : tensor<1x2x1x3xf32>) key_padding(%padding : tensor<2x3xi64>) sinks(%sinks : tensor<2xf32>) {batch = 2 : i64, heads = 2 : i64, kv_heads = 1 : i64, scale = 5.000000e-01 : f64, softcap = 3.000000e+01 : f64, band = #plena.band<-1 to *>} -> tensor<4x6xf32>
// CHECK-NEXT:     %plain = plena.attention %x, %x, %x : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32> {batch = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<4x6xf32>
// CHECK-NEXT:     %patches = plena.patch_embedding %image, %kernel, bias = %expanded {kernel = array<i64: 2, 2>} : (tensor<1x2x4x6xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<6x3xf32>
// CHECK-NEXT:     %rms = plena.rms_norm %x, gain = %expanded {eps = 1.000000e-06 : f64, groups = 2 : i64} : (tensor<4x6xf32>, tensor<3xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %layer = plena.layer_norm %x : tensor<4x6xf32> bias(%g : tensor<6xf32>) {eps = 1.000000e-12 : f64} -> tensor<4x6xf32>
// CHECK-NEXT:     %softmax = plena.softmax %x {groups = 3 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %chosen = plena.route %x {k = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %sum = plena.reduce "sum" over "features" %x {groups = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x2xf32>
// CHECK-NEXT:     %mean = plena.reduce "mean" over "rows" %x : (tensor<4x6xf32>) -> tensor<1x6xf32>
// CHECK-NEXT:     %rotary = plena.rotary "half" %x, %turns, %turns {heads = 2 : i64} : (tensor<4x6xf32>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %both, %keys = plena.rotaries "half"(%x, %rotary : tensor<4x6xf32>, tensor<4x6xf32>) tables(%turns, %turns : tensor<2x2xf32>, tensor<2x2xf32>) {heads = array<i64: 2, 1>} -> tensor<4x6xf32>, tensor<4x6xf32>
// CHECK-NEXT:     %silu = plena.activation "silu" %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %leaky = plena.activation "leaky_relu" %x {slope = 1.000000e-01 : f64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %gate = plena.gate "gelu_tanh" %x, %silu : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %add = plena.add %x, %g : (tensor<4x6xf32>, tensor<6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %sub = plena.sub %x, %add : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %mul = plena.mul %x, %sum : (tensor<4x6xf32>, tensor<4x2xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %div = plena.div %x, %mul : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %plus = plena.add_scalar %x, 1.000000e+00 : f64 : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %times = plena.mul_scalar %x, -2.500000e-01 : f64 : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %clamp = plena.clamp %x {min = 0.000000e+00 : f64, max = 6.000000e+00 : f64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     %cast = plena.cast %padding : (tensor<2x3xi64>) -> tensor<2x3xf32>
// CHECK-NEXT:     %compare = plena.compare "ne" %padding, 1.000000e+00 : f64 : (tensor<2x3xi64>) -> tensor<2x3xi1>
// CHECK-NEXT:     %bit = plena.bit %padding : (tensor<2x3xi64>) -> tensor<2x3xi1>
// CHECK-NEXT:     %reshape = plena.reshape %x : (tensor<4x6xf32>) -> tensor<2x12xf32>
// CHECK-NEXT:     %moved = plena.rearrange %x {factors = array<i64: 4, 2, 3>, order = array<i64: 1, 0, 2>} : (tensor<4x6xf32>) -> tensor<8x3xf32>
// CHECK-NEXT:     %part = plena.slice %x {groups = array<i64: 2, 1>, offsets = array<i64: 1, 0>, sizes = array<i64: 1, 3>, strides = array<i64: 1, 2>} : (tensor<4x6xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %joined = plena.concat "rows" %x, %part2 {groups = 2 : i64} : (tensor<4x6xf32>, tensor<2x6xf32>) -> tensor<6x6xf32>
// CHECK-NEXT:     %repeated = plena.expand %part2 : (tensor<2x6xf32>) -> tensor<3x2x6xf32>
// CHECK-NEXT:     %rows = plena.embedding %w, %padding : (tensor<8x6xf32>, tensor<2x3xi64>) -> tensor<6x6xf32>
// CHECK-NEXT:     func.return
// CHECK-NEXT:   }
// CHECK-NEXT: }
