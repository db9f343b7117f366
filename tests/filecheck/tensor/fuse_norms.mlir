// RUN: plena-opt %s -p fuse-norms | filecheck %s

// Norms written out, with their gains and biases; eps 1e-5 becomes the kernel's.

builtin.module {
  func.func @layer_norm(%x: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
    %0 = aten.mean %x {dim = array<i64: 2>, keepdim = true} : (tensor<2x4x8xf32>) -> tensor<2x4x1xf32>
    %1 = aten.sub %x, %0 : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
    %2 = aten.mul %1, %1 : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %3 = aten.mean %2 {dim = array<i64: 2>, keepdim = true} : (tensor<2x4x8xf32>) -> tensor<2x4x1xf32>
    %4 = aten.full 1.000000e-05 : f64 : tensor<f32>
    %5 = aten.add %3, %4 : (tensor<2x4x1xf32>, tensor<f32>) -> tensor<2x4x1xf32>
    %6 = aten.sqrt %5 : (tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
    %7 = aten.div %1, %6 : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
    %8 = aten.parameter @gain : tensor<8xf32>
    %9 = aten.mul %7, %8 : (tensor<2x4x8xf32>, tensor<8xf32>) -> tensor<2x4x8xf32>
    %10 = aten.parameter @bias : tensor<8xf32>
    %11 = aten.add %9, %10 : (tensor<2x4x8xf32>, tensor<8xf32>) -> tensor<2x4x8xf32>
    func.return %11 : tensor<2x4x8xf32>
  }
  func.func @gain_first(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = aten.parameter @gain : tensor<8xf32>
    %1 = aten.mul %0, %x : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %2 = aten.mul %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %3 = aten.mean %2 {dim = array<i64: 1>, keepdim = true} : (tensor<4x8xf32>) -> tensor<4x1xf32>
    %4 = aten.full 1.000000e-05 : f64 : tensor<f32>
    %5 = aten.add %3, %4 : (tensor<4x1xf32>, tensor<f32>) -> tensor<4x1xf32>
    %6 = aten.sqrt %5 : (tensor<4x1xf32>) -> tensor<4x1xf32>
    %7 = aten.div %1, %6 : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
    func.return %7 : tensor<4x8xf32>
  }
  func.func @no_norm_of_another_axis(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = aten.mul %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %1 = aten.mean %0 {dim = array<i64: 0>, keepdim = true} : (tensor<4x8xf32>) -> tensor<1x8xf32>
    %2 = aten.rsqrt %1 : (tensor<1x8xf32>) -> tensor<1x8xf32>
    %3 = aten.mul %x, %2 : (tensor<4x8xf32>, tensor<1x8xf32>) -> tensor<4x8xf32>
    func.return %3 : tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @layer_norm(%x: tensor<2x4x8xf32>) -> tensor<2x4x8xf32> {
// CHECK-NEXT:     %0 = plena.reshape %x : (tensor<2x4x8xf32>) -> tensor<8x8xf32>
// CHECK-NEXT:     %1 = aten.parameter @gain : tensor<8xf32>
// CHECK-NEXT:     %2 = aten.parameter @bias : tensor<8xf32>
// CHECK-NEXT:     %3 = plena.layer_norm %0 : tensor<8x8xf32> gain(%1 : tensor<8xf32>) bias(%2 : tensor<8xf32>) {eps = 1.000000e-05 : f64} -> tensor<8x8xf32>
// CHECK-NEXT:     %4 = plena.reshape %3 : (tensor<8x8xf32>) -> tensor<2x4x8xf32>
// CHECK-NEXT:     func.return %4 : tensor<2x4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @gain_first(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = aten.parameter @gain : tensor<8xf32>
// CHECK-NEXT:     %1 = plena.rms_norm %x, gain = %0 {eps = 1.000000e-05 : f64} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %1 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @no_norm_of_another_axis(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = aten.mul %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %1 = aten.mean %0 {dim = array<i64: 0>, keepdim = true} : (tensor<4x8xf32>) -> tensor<1x8xf32>
// CHECK-NEXT:     %2 = aten.rsqrt %1 : (tensor<1x8xf32>) -> tensor<1x8xf32>
// CHECK-NEXT:     %3 = aten.mul %x, %2 : (tensor<4x8xf32>, tensor<1x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %3 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
