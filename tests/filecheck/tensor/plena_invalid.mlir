// RUN: plena-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: plena.linear: input has 6 features, the weight expects 5
func.func @main(%x: tensor<4x6xf32>, %w: tensor<8x5xf32>) {
  %0 = plena.linear %x, %w : (tensor<4x6xf32>, tensor<8x5xf32>) -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: plena.projections: needs one bias per weight or none
func.func @main(%x: tensor<4x6xf32>, %w: tensor<8x6xf32>, %b: tensor<8xf32>) {
  %0, %1 = plena.projections %x : tensor<4x6xf32> weights(%w, %w : tensor<8x6xf32>, tensor<8x6xf32>) biases(%b : tensor<8xf32>) -> tensor<4x8xf32>, tensor<4x8xf32>
  func.return
}

// -----

// CHECK: plena.matmul: rows must divide by batch
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.matmul %x, %x {batch = 3 : i64, transpose_rhs = true} : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x4xf32>
  func.return
}

// -----

// CHECK: plena.attention: 2 key heads do not divide 3 query heads
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.attention %x, %x, %x : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32> {batch = 1 : i64, heads = 3 : i64, kv_heads = 2 : i64, scale = 1.000000e+00 : f64} -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.attention: query and key heads differ in size
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.attention %x, %x, %x : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32> {batch = 1 : i64, heads = 3 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<4x18xf32>
  func.return
}

// -----

// CHECK: plena.attention: key_padding must be
func.func @main(%x: tensor<4x6xf32>, %p: tensor<1x3xi64>) {
  %0 = plena.attention %x, %x, %x : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32> key_padding(%p : tensor<1x3xi64>) {batch = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.attention: bias (1, 2, 4, 4) does not fit the scores (1, 3, 4, 4)
func.func @main(%x: tensor<4x6xf32>, %b: tensor<1x2x4x4xf32>) {
  %0 = plena.attention %x, %x, %x : tensor<4x6xf32>, tensor<4x6xf32>, tensor<4x6xf32> bias(%b : tensor<1x2x4x4xf32>) {batch = 1 : i64, heads = 3 : i64, kv_heads = 3 : i64, scale = 1.000000e+00 : f64} -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.patch_embedding: the weight does not fit the kernel
func.func @main(%i: tensor<1x3x4x4xf32>, %w: tensor<5x11xf32>) {
  %0 = plena.patch_embedding %i, %w {kernel = array<i64: 2, 2>} : (tensor<1x3x4x4xf32>, tensor<5x11xf32>) -> tensor<4x5xf32>
  func.return
}

// -----

// CHECK: plena.rms_norm: gain must have one element per feature
func.func @main(%x: tensor<4x6xf32>, %g: tensor<6xf32>) {
  %0 = plena.rms_norm %x, gain = %g {eps = 1.000000e-05 : f64, groups = 2 : i64} : (tensor<4x6xf32>, tensor<6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.softmax: groups must divide the features
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.softmax %x {groups = 4 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.route: 7 of 6 experts cannot be chosen
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.route %x {k = 7 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.route: experts are chosen from 2 to 256, not from 257
func.func @main(%x: tensor<4x257xf32>) {
  %0 = plena.route %x {k = 7 : i64} : (tensor<4x257xf32>) -> tensor<4x257xf32>
  func.return
}

// -----

// CHECK: plena.route: 1 to 8 experts are chosen for a token, not 9
func.func @main(%x: tensor<4x16xf32>) {
  %0 = plena.route %x {k = 9 : i64} : (tensor<4x16xf32>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: plena.chosen_experts: the body must yield one row
func.func @main(%x: tensor<2x6xf32>, %s: tensor<2x4xf32>, %y: tensor<2x6xf32>) {
  %0 = plena.route %s {k = 2 : i64} : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = plena.chosen_experts %0 : tensor<2x4xf32> rows(%x : tensor<2x6xf32>) {k = 2 : i64} -> tensor<2x6xf32> {
  ^bb0(%r: tensor<1x6xf32>):
    plena.yield %y : tensor<2x6xf32>
  }
  func.return
}

// -----

// CHECK: plena.reduce: axis must be features or rows
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.reduce "sum" over "heads" %x : (tensor<4x6xf32>) -> tensor<4x1xf32>
  func.return
}

// -----

// CHECK: plena.rotary: the rows of cos must divide the input's
func.func @main(%x: tensor<4x6xf32>, %c: tensor<3x2xf32>) {
  %0 = plena.rotary "half" %x, %c, %c {heads = 1 : i64} : (tensor<4x6xf32>, tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.activation: unknown activation swish
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.activation "swish" %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.activation: leaky_relu and elu, and only they, have a slope
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.activation "elu" %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.mul: rhs (4, 4) does not fit lhs (4, 6)
func.func @main(%x: tensor<4x6xf32>, %c: tensor<4x4xf32>) {
  %0 = plena.mul %x, %c : (tensor<4x6xf32>, tensor<4x4xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.clamp: needs a bound
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.clamp %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.rearrange: order must permute the factors
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.rearrange %x {factors = array<i64: 4, 6>, order = array<i64: 1, 1>} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.slice: the slice leaves the input
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.slice %x {offsets = array<i64: 0, 4>, sizes = array<i64: 4, 3>} : (tensor<4x6xf32>) -> tensor<4x3xf32>
  func.return
}

// -----

// CHECK: plena.concat: the inputs differ in the other axis
func.func @main(%x: tensor<4x6xf32>, %y: tensor<2x5xf32>) {
  %0 = plena.concat "rows" %x, %y : (tensor<4x6xf32>, tensor<2x5xf32>) -> tensor<6x6xf32>
  func.return
}

// -----

// CHECK: plena.compare: the result must be boolean
func.func @main(%x: tensor<4x6xi64>) {
  %0 = plena.compare "eq" %x, 0.0 : f64 : (tensor<4x6xi64>) -> tensor<4x6xi64>
  func.return
}

// -----

// CHECK: plena.compare: predicate must be one of
func.func @main(%x: tensor<4x6xi64>) {
  %0 = plena.compare "is" %x, 0.0 : f64 : (tensor<4x6xi64>) -> tensor<4x6xi1>
  func.return
}

// -----

// CHECK: plena.cast: casts nothing
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.cast %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: [0, 2] is no permutation
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.parameter #plena.view<@w, [permute [0, 2]]> : tensor<24xf32>
  func.return
}

// -----

// CHECK: plena.view: needs a step
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.parameter #plena.view<@w, []> : tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.view: compare computes, it does not move
func.func @main(%x: tensor<4x6xf32>) {
  %0 = plena.parameter #plena.view<@w, [compare "gt" 0.0 : f64]> : tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.write_rows: rows do not fit the state and the positions
func.func @main(%x: tensor<3x6xf32>, %at: tensor<2xi64>) {
  %0 = plena.state <@cache> : tensor<8x6xf32>
  %1 = plena.write_rows %0, %x, %at {batch = 1} : (tensor<8x6xf32>, tensor<3x6xf32>, tensor<2xi64>) -> tensor<8x6xf32>
  func.return
}

// -----

// CHECK: plena.write_rows: positions are integers
func.func @main(%x: tensor<2x6xf32>, %at: tensor<2xf32>) {
  %0 = plena.state <@cache> : tensor<8x6xf32>
  %1 = plena.write_rows %0, %x, %at {batch = 1} : (tensor<8x6xf32>, tensor<2x6xf32>, tensor<2xf32>) -> tensor<8x6xf32>
  func.return
}

// -----

// CHECK: plena.pick_sample: there must be one number
func.func @main(%x: tensor<2x6xf32>, %at: tensor<2xi64>) {
  %0 = plena.state <@cache> : tensor<8x6xf32>
  %1 = plena.pick_sample %0, %at {batch = 2} : (tensor<8x6xf32>, tensor<2xi64>) -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.pick_sample: rows must divide by batch
func.func @main(%x: tensor<2x6xf32>, %at: tensor<1xi64>) {
  %0 = plena.state <@cache> : tensor<8x6xf32>
  %1 = plena.pick_sample %0, %at {batch = 3} : (tensor<8x6xf32>, tensor<1xi64>) -> tensor<2x6xf32>
  func.return
}

// -----

// CHECK: plena.write_state: state and value differ in shape
func.func @main(%x: tensor<2x6xf32>) {
  %0 = plena.state <@cache> : tensor<8x6xf32>
  plena.write_state %0, %x : tensor<8x6xf32>, tensor<2x6xf32>
  func.return
}

// -----

// CHECK: plena.rotaries: inputs must differ
func.func @rotaries_twice(%x: tensor<4x6xf32>, %c: tensor<2x2xf32>) {
  %0, %1 = plena.rotaries "half"(%x, %x : tensor<4x6xf32>, tensor<4x6xf32>) tables(%c, %c : tensor<2x2xf32>, tensor<2x2xf32>) {heads = array<i64: 1, 1>} -> tensor<4x6xf32>, tensor<4x6xf32>
  func.return
}

// -----

// CHECK: plena.rotaries: needs heads and a result per input
func.func @rotaries_heads(%x: tensor<4x6xf32>, %c: tensor<2x2xf32>) {
  %0 = plena.rotaries "half"(%x : tensor<4x6xf32>) tables(%c, %c : tensor<2x2xf32>, tensor<2x2xf32>) {heads = array<i64: 1, 1>} -> tensor<4x6xf32>
  func.return
}
