// RUN: plena-opt %s -p share-rotations | filecheck %s

// By the same tables, heads of one size: queries and keys of a layer, not of two layers, nor in another style.

builtin.module {
  func.func @main(%x: tensor<4x8xf32>, %c: tensor<4x4xf32>, %s: tensor<4x4xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
    %0 = plena.parameter @k : tensor<4x8xf32>
    %1 = plena.rotary "half" %x, %c, %s {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    %2 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x4xf32>
    %3 = plena.rotary "half" %2, %c, %s {heads = 1 : i64} : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    %4 = plena.add %1, %3 : (tensor<4x8xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    %5 = plena.rotary "half" %4, %c, %s {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    %6 = plena.rotary "interleaved" %4, %c, %s {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
    func.return %5, %6 : tensor<4x8xf32>, tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @main(%x: tensor<4x8xf32>, %c: tensor<4x4xf32>, %s: tensor<4x4xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
// CHECK-NEXT:     %0 = plena.parameter @k : tensor<4x8xf32>
// CHECK-NEXT:     %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x4xf32>
// CHECK-NEXT:     %2, %3 = plena.rotaries "half"(%x, %1 : tensor<4x8xf32>, tensor<4x4xf32>) tables(%c, %s : tensor<4x4xf32>, tensor<4x4xf32>) {heads = array<i64: 2, 1>} -> tensor<4x8xf32>, tensor<4x4xf32>
// CHECK-NEXT:     %4 = plena.add %2, %3 : (tensor<4x8xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %5 = plena.rotary "half" %4, %c, %s {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %6 = plena.rotary "interleaved" %4, %c, %s {heads = 2 : i64} : (tensor<4x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %5, %6 : tensor<4x8xf32>, tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
