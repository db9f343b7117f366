// RUN: PLENA_ROUNDTRIP

// Every op of the aten dialect.

builtin.module {
  func.func @main(%x: tensor<2x3xf32>, %ids: tensor<2x3xi64>, %row: tensor<7xi64>, %q: tensor<1x2x5x4xf32>, %b: tensor<4xf32>, %g: tensor<3xf32>, %kernel: tensor<4x2x3x2xf32>) {
    %w = aten.parameter @layers.0.mlp.weight {plena.module = "layers.0.mlp"} : tensor<4x3xf32>
    %mask = aten.constant @mask {band = #plena.band<-3 to 0>} : tensor<5x5xi1>
    %table = aten.constant @"a name" : tensor<5x4xf32>
    %free = aten.constant @free {band = #plena.band<* to *>} : tensor<5x5xf32>
    %two = aten.full 2.000000e+00 : f64 : tensor<f32>
    %low = aten.full 0xfff0000000000000 : f64 : tensor<5x5xf32>
    %true = aten.full 1 : i64 : tensor<2x3xi1>
    %sorted, %places = aten.operator "aten.sort.default"(%x) {arguments = ["%0", -1 : i64, false]} : (tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
    %neg = aten.neg %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %abs = aten.abs %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %exp = aten.exp %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %sqrt = aten.sqrt %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %rsqrt = aten.rsqrt %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %reciprocal = aten.reciprocal %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %tanh = aten.tanh %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %erf = aten.erf %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %sigmoid = aten.sigmoid %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %silu = aten.silu %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %relu = aten.relu %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %gelu = aten.gelu %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %gelu_tanh = aten.gelu %x {approximate = "tanh"} : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %clamp = aten.clamp %x {min = 0.000000e+00 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %leaky = aten.leaky_relu %x {negative_slope = 1.000000e-01 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %elu = aten.elu %x {alpha = 1.000000e+00 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %to = aten.to %ids : (tensor<2x3xi64>) -> tensor<2x3xf32>
    %add = aten.add %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %sub = aten.sub %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %mul = aten.mul %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %div = aten.div %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %pow = aten.pow %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %maximum = aten.maximum %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %minimum = aten.minimum %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %less = aten.compare "lt" %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xi1>
    %not = aten.logical_not %less : (tensor<2x3xi1>) -> tensor<2x3xi1>
    %both = aten.logical_and %less, %not : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
    %where = aten.where %both, %x, %two : (tensor<2x3xi1>, tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %view = aten.view %x : (tensor<2x3xf32>) -> tensor<6x1xf32>
    %permute = aten.permute %x {dims = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
    %expand = aten.expand %view : (tensor<6x1xf32>) -> tensor<2x6x4xf32>
    %slice = aten.slice %x {dim = 1 : i64, start = 0 : i64, end = 3 : i64, step = 2 : i64} : (tensor<2x3xf32>) -> tensor<2x2xf32>
    %cat = aten.cat %x, %slice {dim = 1 : i64} : (tensor<2x3xf32>, tensor<2x2xf32>) -> tensor<2x5xf32>
    %embedding = aten.embedding %table, %ids : (tensor<5x4xf32>, tensor<2x3xi64>) -> tensor<2x3x4xf32>
    %picked = aten.index_select %table, %row {dim = 0 : i64} : (tensor<5x4xf32>, tensor<7xi64>) -> tensor<7x4xf32>
    %linear = aten.linear %x, %w : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32>
    %biased = aten.linear %x, %w, bias = %b : (tensor<2x3xf32>, tensor<4x3xf32>, tensor<4xf32>) -> tensor<2x4xf32>
    %matmul = aten.matmul %x, %permute : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
    %attention = aten.scaled_dot_product_attention %q, %q, %q, mask = %mask {scale = 5.000000e-01 : f64, enable_gqa = true} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<5x5xi1>) -> tensor<1x2x5x4xf32>
    %causal = aten.scaled_dot_product_attention %q, %q, %q {is_causal = true} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
    %conv = aten.conv2d %q, %kernel, bias = %b {stride = array<i64: 1, 2>, padding = array<i64: 1, 0>, dilation = array<i64: 1, 1>, groups = 1 : i64} : (tensor<1x2x5x4xf32>, tensor<4x2x3x2xf32>, tensor<4xf32>) -> tensor<1x4x5x2xf32>
    %sum = aten.sum %x {dim = array<i64: 0>, keepdim = true} : (tensor<2x3xf32>) -> tensor<1x3xf32>
    %mean = aten.mean %x {dim = array<i64: 0>, keepdim = true} : (tensor<2x3xf32>) -> tensor<1x3xf32>
    %amax = aten.amax %x {dim = array<i64: 0>, keepdim = true} : (tensor<2x3xf32>) -> tensor<1x3xf32>
    %softmax = aten.softmax %x {dim = 1 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
    %layer_norm = aten.layer_norm %x : tensor<2x3xf32> weight(%g : tensor<3xf32>) bias(%g : tensor<3xf32>) {normalized_shape = array<i64: 3>, eps = 1.000000e-05 : f64} -> tensor<2x3xf32>
    %plain_norm = aten.layer_norm %x : tensor<2x3xf32> {normalized_shape = array<i64: 2, 3>, eps = 1.000000e-05 : f64} -> tensor<2x3xf32>
    %rms_norm = aten.rms_norm %x, weight = %g {normalized_shape = array<i64: 3>} : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
    func.return
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @main(%x: tensor<2x3xf32>, %ids: tensor<2x3xi64>, %row: tensor<7xi64>, %q: tensor<1x2x5x4xf32>, %b: tensor<4xf32>, %g: tensor<3xf32>, %kernel: tensor<4x2x3x2xf32>) {
// CHECK-NEXT:     %w = aten.parameter @layers.0.mlp.weight {plena.module = "layers.0.mlp"} : tensor<4x3xf32>
// CHECK-NEXT:     %mask = aten.constant @mask {band = #plena.band<-3 to 0>} : tensor<5x5xi1>
// CHECK-NEXT:     %table = aten.constant @"a name" : tensor<5x4xf32>
// CHECK-NEXT:     %free = aten.constant @free {band = #plena.band<* to *>} : tensor<5x5xf32>
// CHECK-NEXT:     %two = aten.full 2.000000e+00 : f64 : tensor<f32>
// CHECK-NEXT:     %low = aten.full 0xfff0000000000000 : f64 : tensor<5x5xf32>
// CHECK-NEXT:     %true = aten.full 1 : i64 : tensor<2x3xi1>
// CHECK-NEXT:     %sorted, %places = aten.operator "aten.sort.default"(%x) {arguments = ["%0", -1 : i64, false]} : (tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
// CHECK-NEXT:     %neg = aten.neg %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %abs = aten.abs %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %exp = aten.exp %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %sqrt = aten.sqrt %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %rsqrt = aten.rsqrt %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %reciprocal = aten.reciprocal %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %tanh = aten.tanh %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %erf = aten.erf %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %sigmoid = aten.sigmoid %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %silu = aten.silu %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %relu = aten.relu %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %gelu = aten.gelu %x : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %gelu_tanh = aten.gelu %x {approximate = "tanh"} : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %clamp = aten.clamp %x {min = 0.000000e+00 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %leaky = aten.leaky_relu %x {negative_slope = 1.000000e-01 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %elu = aten.elu %x {alpha = 1.000000e+00 : f64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %to = aten.to %ids : (tensor<2x3xi64>) -> tensor<2x3xf32>
// CHECK-NEXT:     %add = aten.add %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %sub = aten.sub %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %mul = aten.mul %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %div = aten.div %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %pow = aten.pow %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %maximum = aten.maximum %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %minimum = aten.minimum %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %less = aten.compare "lt" %x, %two : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xi1>
// CHECK-NEXT:     %not = aten.logical_not %less : (tensor<2x3xi1>) -> tensor<2x3xi1>
// CHECK-NEXT:     %both = aten.logical_and %less, %not : (tensor<2x3xi1>, tensor<2x3xi1>) -> tensor<2x3xi1>
// CHECK-NEXT:     %where = aten.where %both, %x, %two : (tensor<2x3xi1>, tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %view = aten.view %x : (tensor<2x3xf32>) -> tensor<6x1xf32>
// CHECK-NEXT:     %permute = aten.permute %x {dims = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
// CHECK-NEXT:     %expand = aten.expand %view : (tensor<6x1xf32>) -> tensor<2x6x4xf32>
// CHECK-NEXT:     %slice = aten.slice %x {dim = 1 : i64, start = 0 : i64, end = 3 : i64, step = 2 : i64} : (tensor<2x3xf32>) -> tensor<2x2xf32>
// CHECK-NEXT:     %cat = aten.cat %x, %slice {dim = 1 : i64} : (tensor<2x3xf32>, tensor<2x2xf32>) -> tensor<2x5xf32>
// CHECK-NEXT:     %embedding = aten.embedding %table, %ids : (tensor<5x4xf32>, tensor<2x3xi64>) -> tensor<2x3x4xf32>
// CHECK-NEXT:     %picked = aten.index_select %table, %row {dim = 0 : i64} : (tensor<5x4xf32>, tensor<7xi64>) -> tensor<7x4xf32>
// CHECK-NEXT:     %linear = aten.linear %x, %w : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32>
// CHECK-NEXT:     %biased = aten.linear %x, %w, bias = %b : (tensor<2x3xf32>, tensor<4x3xf32>, tensor<4xf32>) -> tensor<2x4xf32>
// CHECK-NEXT:     %matmul = aten.matmul %x, %permute : (tensor<2x3xf32>, tensor<3x2xf32>) -> tensor<2x2xf32>
// CHECK-NEXT:     %attention = aten.scaled_dot_product_attention %q, %q, %q, mask = %mask {scale = 5.000000e-01 : f64, enable_gqa = true} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<5x5xi1>) -> tensor<1x2x5x4xf32>
// CHECK-NEXT:     %causal = aten.scaled_dot_product_attention %q, %q, %q {is_causal = true} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x5x4xf32>
// CHECK-NEXT:     %conv = aten.conv2d %q, %kernel, bias = %b {stride = array<i64: 1, 2>, padding = array<i64: 1, 0>, dilation = array<i64: 1, 1>, groups = 1 : i64} : (tensor<1x2x5x4xf32>, tensor<4x2x3x2xf32>, tensor<4xf32>) -> tensor<1x4x5x2xf32>
// CHECK-NEXT:     %sum = aten.sum %x {dim = array<i64: 0>, keepdim = true} : (tensor<2x3xf32>) -> tensor<1x3xf32>
// CHECK-NEXT:     %mean = aten.mean %x {dim = array<i64: 0>, keepdim = true} : (tensor<2x3xf32>) -> tensor<1x3xf32>
// CHECK-NEXT:     %amax = aten.amax %x {dim = array<i64: 0>, keepdim = true} : (tensor<2x3xf32>) -> tensor<1x3xf32>
// CHECK-NEXT:     %softmax = aten.softmax %x {dim = 1 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     %layer_norm = aten.layer_norm %x : tensor<2x3xf32> weight(%g : tensor<3xf32>) bias(%g : tensor<3xf32>) {normalized_shape = array<i64: 3>, eps = 1.000000e-05 : f64} -> tensor<2x3xf32>
// CHECK-NEXT:     %plain_norm = aten.layer_norm %x : tensor<2x3xf32> {normalized_shape = array<i64: 2, 3>, eps = 1.000000e-05 : f64} -> tensor<2x3xf32>
// CHECK-NEXT:     %rms_norm = aten.rms_norm %x, weight = %g {normalized_shape = array<i64: 3>} : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:     func.return
// CHECK-NEXT:   }
// CHECK-NEXT: }
