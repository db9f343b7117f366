// RUN: plena-opt %s -p convert-aten-to-plena | filecheck %s

// Operators one by one: rows of the last axis, broadcast operands as rows and columns, slices and joins with groups.

builtin.module {
  func.func @linear(%x: tensor<2x4x8xf32>) -> tensor<2x4x6xf32> {
    %0 = aten.parameter @w : tensor<8x6xf32>
    %1 = aten.matmul %x, %0 : (tensor<2x4x8xf32>, tensor<8x6xf32>) -> tensor<2x4x6xf32>
    func.return %1 : tensor<2x4x6xf32>
  }
  func.func @class_token(%x: tensor<2x4x8xf32>) -> tensor<2x8xf32> {
    %0 = aten.parameter @token : tensor<2x1x8xf32>
    %1 = aten.cat %0, %x {dim = 1} : (tensor<2x1x8xf32>, tensor<2x4x8xf32>) -> tensor<2x5x8xf32>
    %2 = aten.slice %1 {dim = 1, start = 0, end = 1, step = 1} : (tensor<2x5x8xf32>) -> tensor<2x1x8xf32>
    %3 = aten.view %2 : (tensor<2x1x8xf32>) -> tensor<2x8xf32>
    func.return %3 : tensor<2x8xf32>
  }
  func.func @numbers(%x: tensor<4x8xf32>, %c: tensor<4x1xf32>) -> tensor<4x8xf32> {
    %0 = aten.full 1.000000e+00 : f64 : tensor<f32>
    %1 = aten.sub %0, %x : (tensor<f32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %2 = aten.div %1, %c : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
    func.return %2 : tensor<4x8xf32>
  }
  func.func @patches(%x: tensor<1x3x4x6xf32>) -> tensor<1x5x2x2xf32> {
    %0 = aten.parameter @k : tensor<5x3x2x3xf32>
    %1 = aten.conv2d %x, %0 {stride = array<i64: 2, 3>, padding = array<i64: 0, 0>, dilation = array<i64: 1, 1>, groups = 1} : (tensor<1x3x4x6xf32>, tensor<5x3x2x3xf32>) -> tensor<1x5x2x2xf32>
    func.return %1 : tensor<1x5x2x2xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @linear(%x: tensor<2x4x8xf32>) -> tensor<2x4x6xf32> {
// CHECK-NEXT:     %0 = plena.parameter @w : tensor<8x6xf32>
// CHECK-NEXT:     %1 = plena.rearrange %0 {factors = array<i64: 8, 6>, order = array<i64: 1, 0>} : (tensor<8x6xf32>) -> tensor<6x8xf32>
// CHECK-NEXT:     %2 = plena.reshape %x : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
// CHECK-NEXT:     %3 = plena.linear %2, %1 : (tensor<8x8xf32>, tensor<6x8xf32>) -> tensor<8x6xf32>
// CHECK-NEXT:     %4 = plena.reshape %3 : (tensor<8x6xf32>) -> tensor<2x4x6xf32>
// CHECK-NEXT:     func.return %4 : tensor<2x4x6xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @class_token(%x: tensor<2x4x8xf32>) -> tensor<2x8xf32> {
// CHECK-NEXT:     %0 = plena.parameter @token : tensor<2x1x8xf32>
// CHECK-NEXT:     %1 = plena.reshape %0 : (tensor<2x1x8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT:     %2 = plena.reshape %x : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
// CHECK-NEXT:     %3 = plena.concat "rows" %1, %2 {groups = 2 : i64} : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<10x8xf32>
// CHECK-NEXT:     %4 = plena.slice %3 {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 1, 8>} : (tensor<10x8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT:     %5 = plena.reshape %4 : (tensor<2x8xf32>) -> tensor<2x1x8xf32>
// CHECK-NEXT:     %6 = plena.reshape %5 : (tensor<2x1x8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT:     func.return %6 : tensor<2x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @numbers(%x: tensor<4x8xf32>, %c: tensor<4x1xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.mul_scalar %x, -1.000000e+00 : f64 : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %1 = plena.add_scalar %0, 1.000000e+00 : f64 : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.div %1, %c : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %2 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @patches(%x: tensor<1x3x4x6xf32>) -> tensor<1x5x2x2xf32> {
// CHECK-NEXT:     %0 = plena.parameter @k : tensor<5x3x2x3xf32>
// CHECK-NEXT:     %1 = plena.reshape %0 : (tensor<5x3x2x3xf32>) -> tensor<5x18xf32>
// CHECK-NEXT:     %2 = plena.patch_embedding %x, %1 {kernel = array<i64: 2, 3>} : (tensor<1x3x4x6xf32>, tensor<5x18xf32>) -> tensor<4x5xf32>
// CHECK-NEXT:     %3 = plena.rearrange %2 {factors = array<i64: 4, 5>, order = array<i64: 1, 0>} : (tensor<4x5xf32>) -> tensor<1x5x2x2xf32>
// CHECK-NEXT:     func.return %3 : tensor<1x5x2x2xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
