// RUN: plena-opt %s -p widen-rotary | filecheck %s

// A rotation of the first features of every head takes the whole rows; one that is joined otherwise stays.

builtin.module {
  func.func @partial(%x: tensor<4x16xf32>, %c: tensor<4x4xf32>) -> tensor<4x16xf32> {
    %0 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 4>} : (tensor<4x16xf32>) -> tensor<4x8xf32>
    %1 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 4>, sizes = array<i64: 4, 4>} : (tensor<4x16xf32>) -> tensor<4x8xf32>
    %2 = plena.rotary "interleaved" %0, %c, %c {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    %3 = plena.concat "features" %2, %1 {groups = 2 : i64} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
    func.return %3 : tensor<4x16xf32>
  }
  func.func @joined_by_rows(%x: tensor<4x16xf32>, %c: tensor<4x4xf32>) -> tensor<4x16xf32> {
    %0 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 4>} : (tensor<4x16xf32>) -> tensor<4x8xf32>
    %1 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 4>, sizes = array<i64: 4, 4>} : (tensor<4x16xf32>) -> tensor<4x8xf32>
    %2 = plena.rotary "half" %0, %c, %c {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    %3 = plena.concat "features" %2, %1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
    func.return %3 : tensor<4x16xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @partial(%x: tensor<4x16xf32>, %c: tensor<4x4xf32>) -> tensor<4x16xf32> {
// CHECK-NEXT:     %0 = plena.rotary "interleaved" %x, %c, %c {heads = 2 : i64} : (tensor<4x16xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     func.return %0 : tensor<4x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @joined_by_rows(%x: tensor<4x16xf32>, %c: tensor<4x4xf32>) -> tensor<4x16xf32> {
// CHECK-NEXT:     %0 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 4>} : (tensor<4x16xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %1 = plena.slice %x {groups = array<i64: 1, 2>, offsets = array<i64: 0, 4>, sizes = array<i64: 4, 4>} : (tensor<4x16xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.rotary "half" %0, %c, %c {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %3 = plena.concat "features" %2, %1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     func.return %3 : tensor<4x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
