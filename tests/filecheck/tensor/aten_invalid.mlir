// RUN: plena-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: aten.neg: the result must have the input's shape
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.neg %x : (tensor<2x3xf32>) -> tensor<3x2xf32>
  func.return
}

// -----

// CHECK: aten.add: the result must have the operands' broadcast shape
func.func @main(%x: tensor<2x3xf32>, %y: tensor<4xf32>) {
  %0 = aten.add %x, %y : (tensor<2x3xf32>, tensor<4xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: aten.gelu: approximate must be "none" or "tanh"
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.gelu %x {approximate = "quick"} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: aten.compare: predicate must be one of
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.compare "near" %x, %x : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xi1>
  func.return
}

// -----

// CHECK: aten.view: element counts differ
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.view %x : (tensor<2x3xf32>) -> tensor<5xf32>
  func.return
}

// -----

// CHECK: aten.permute: dims must be a permutation of the axes
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.permute %x {dims = array<i64: 0, 0>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: aten.expand: the input does not broadcast to the result
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.expand %x : (tensor<2x3xf32>) -> tensor<4x3xf32>
  func.return
}

// -----

// CHECK: aten.slice: bounds do not lie in the input
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.slice %x {dim = 1, start = 0, end = 4, step = 1} : (tensor<2x3xf32>) -> tensor<2x4xf32>
  func.return
}

// -----

// CHECK: aten.cat: shapes differ outside dim
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.cat %x, %x {dim = 0} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<4x2xf32>
  func.return
}

// -----

// CHECK: aten.linear: input has 3 features, weight expects 5
func.func @main(%x: tensor<2x3xf32>, %w: tensor<4x5xf32>) {
  %0 = aten.linear %x, %w : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<2x4xf32>
  func.return
}

// -----

// CHECK: aten.matmul: cannot multiply
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.matmul %x, %x : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: aten.scaled_dot_product_attention: mask (3, 4) does not fit scores (1, 1, 4, 4)
func.func @main(%q: tensor<1x1x4x2xf32>, %m: tensor<3x4xf32>) {
  %0 = aten.scaled_dot_product_attention %q, %q, %q, mask = %m : (tensor<1x1x4x2xf32>, tensor<1x1x4x2xf32>, tensor<1x1x4x2xf32>, tensor<3x4xf32>) -> tensor<1x1x4x2xf32>
  func.return
}

// -----

// CHECK: aten.conv2d: channels do not fit the weight
func.func @main(%x: tensor<1x3x4x4xf32>, %w: tensor<5x2x2x2xf32>) {
  %0 = aten.conv2d %x, %w {stride = array<i64: 2, 2>, padding = array<i64: 0, 0>, dilation = array<i64: 1, 1>, groups = 1} : (tensor<1x3x4x4xf32>, tensor<5x2x2x2xf32>) -> tensor<1x5x2x2xf32>
  func.return
}

// -----

// CHECK: aten.sum: axes are wrong
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.sum %x {dim = array<i64: 2>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: aten.softmax: dim is not an axis of the input
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.softmax %x {dim = 2} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: aten.rms_norm: normalized_shape does not end the input's shape
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.rms_norm %x {normalized_shape = array<i64: 2>} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return
}

// -----

// CHECK: plena.band allows nothing
func.func @main(%x: tensor<2x3xf32>) {
  %0 = aten.constant @m {band = #plena.band<1 to 0>} : tensor<4x4xf32>
  func.return
}
