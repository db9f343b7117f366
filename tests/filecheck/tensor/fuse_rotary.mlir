// RUN: plena-opt %s -p fuse-rotary | filecheck %s

// Rotary embedding of interleaved pairs, written on even and odd elements; the tables are doubled while staging.

builtin.module {
  func.func @pairs(%x: tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32> {
    %0 = aten.constant @cos : tensor<4x4xf32>
    %1 = aten.constant @sin : tensor<4x4xf32>
    %2 = aten.slice %x {dim = 3, start = 0, end = 8, step = 2} : (tensor<1x2x4x8xf32>) -> tensor<1x2x4x4xf32>
    %3 = aten.slice %x {dim = 3, start = 1, end = 8, step = 2} : (tensor<1x2x4x8xf32>) -> tensor<1x2x4x4xf32>
    %4 = aten.mul %2, %0 : (tensor<1x2x4x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4x4xf32>
    %5 = aten.mul %3, %1 : (tensor<1x2x4x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4x4xf32>
    %6 = aten.sub %4, %5 : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %7 = aten.mul %2, %1 : (tensor<1x2x4x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4x4xf32>
    %8 = aten.mul %3, %0 : (tensor<1x2x4x4xf32>, tensor<4x4xf32>) -> tensor<1x2x4x4xf32>
    %9 = aten.add %7, %8 : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
    %10 = aten.view %6 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4x1xf32>
    %11 = aten.view %9 : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4x1xf32>
    %12 = aten.cat %10, %11 {dim = 4} : (tensor<1x2x4x4x1xf32>, tensor<1x2x4x4x1xf32>) -> tensor<1x2x4x4x2xf32>
    %13 = aten.view %12 : (tensor<1x2x4x4x2xf32>) -> tensor<1x2x4x8xf32>
    func.return %13 : tensor<1x2x4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @pairs(%x: tensor<1x2x4x8xf32>) -> tensor<1x2x4x8xf32> {
// CHECK-NEXT:     %0 = aten.constant @cos : tensor<4x4xf32>
// CHECK-NEXT:     %1 = aten.constant @sin : tensor<4x4xf32>
// CHECK-NEXT:     %2 = plena.rearrange %x {factors = array<i64: 2, 4, 8>, order = array<i64: 1, 0, 2>} : (tensor<1x2x4x8xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     %3 = plena.reshape %0 : (tensor<4x4xf32>) -> tensor<4x4x1xf32>
// CHECK-NEXT:     %4 = plena.expand %3 : (tensor<4x4x1xf32>) -> tensor<4x4x2xf32>
// CHECK-NEXT:     %5 = plena.reshape %4 : (tensor<4x4x2xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %6 = plena.reshape %1 : (tensor<4x4xf32>) -> tensor<4x4x1xf32>
// CHECK-NEXT:     %7 = plena.expand %6 : (tensor<4x4x1xf32>) -> tensor<4x4x2xf32>
// CHECK-NEXT:     %8 = plena.reshape %7 : (tensor<4x4x2xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %9 = plena.rotary "interleaved" %2, %5, %8 {heads = 2 : i64} : (tensor<4x16xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     %10 = plena.rearrange %9 {factors = array<i64: 4, 2, 8>, order = array<i64: 1, 0, 2>} : (tensor<4x16xf32>) -> tensor<1x2x4x8xf32>
// CHECK-NEXT:     func.return %10 : tensor<1x2x4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
