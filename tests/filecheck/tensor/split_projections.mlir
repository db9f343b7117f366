// RUN: plena-opt %s -p split-projections | filecheck %s

// A fused projection is cut where it is sliced, also per head; one that is read whole is not.

builtin.module {
  func.func @per_head(%x: tensor<4x8xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
    %0 = plena.parameter @qk : tensor<8x8xf32>
    %1 = plena.parameter @b : tensor<8xf32>
    %2 = plena.linear %x, %0, bias = %1 : (tensor<4x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    %3 = plena.slice %2 {groups = array<i64: 1, 2>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 2>} : (tensor<4x8xf32>) -> tensor<4x4xf32>
    %4 = plena.slice %2 {groups = array<i64: 1, 2>, offsets = array<i64: 0, 2>, sizes = array<i64: 4, 2>} : (tensor<4x8xf32>) -> tensor<4x4xf32>
    func.return %3, %4 : tensor<4x4xf32>, tensor<4x4xf32>
  }
  func.func @read_whole(%x: tensor<4x8xf32>) -> (tensor<4x4xf32>, tensor<4x8xf32>) {
    %0 = plena.parameter @w : tensor<8x8xf32>
    %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %2 = plena.slice %1 {offsets = array<i64: 0, 0>, sizes = array<i64: 4, 4>} : (tensor<4x8xf32>) -> tensor<4x4xf32>
    func.return %2, %1 : tensor<4x4xf32>, tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @per_head(%x: tensor<4x8xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
// CHECK-NEXT:     %0 = plena.parameter @qk : tensor<8x8xf32>
// CHECK-NEXT:     %1 = plena.parameter @b : tensor<8xf32>
// CHECK-NEXT:     %2 = plena.slice %0 {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 2, 8>} : (tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %3 = plena.reshape %1 : (tensor<8xf32>) -> tensor<8x1xf32>
// CHECK-NEXT:     %4 = plena.slice %3 {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 2, 1>} : (tensor<8x1xf32>) -> tensor<4x1xf32>
// CHECK-NEXT:     %5 = plena.reshape %4 : (tensor<4x1xf32>) -> tensor<4xf32>
// CHECK-NEXT:     %6 = plena.linear %x, %2, bias = %5 : (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<4x4xf32>
// CHECK-NEXT:     %7 = plena.slice %0 {groups = array<i64: 2, 1>, offsets = array<i64: 2, 0>, sizes = array<i64: 2, 8>} : (tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %8 = plena.reshape %1 : (tensor<8xf32>) -> tensor<8x1xf32>
// CHECK-NEXT:     %9 = plena.slice %8 {groups = array<i64: 2, 1>, offsets = array<i64: 2, 0>, sizes = array<i64: 2, 1>} : (tensor<8x1xf32>) -> tensor<4x1xf32>
// CHECK-NEXT:     %10 = plena.reshape %9 : (tensor<4x1xf32>) -> tensor<4xf32>
// CHECK-NEXT:     %11 = plena.linear %x, %7, bias = %10 : (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> tensor<4x4xf32>
// CHECK-NEXT:     func.return %6, %11 : tensor<4x4xf32>, tensor<4x4xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @read_whole(%x: tensor<4x8xf32>) -> (tensor<4x4xf32>, tensor<4x8xf32>) {
// CHECK-NEXT:     %0 = plena.parameter @w : tensor<8x8xf32>
// CHECK-NEXT:     %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.slice %1 {offsets = array<i64: 0, 0>, sizes = array<i64: 4, 4>} : (tensor<4x8xf32>) -> tensor<4x4xf32>
// CHECK-NEXT:     func.return %2, %1 : tensor<4x4xf32>, tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
