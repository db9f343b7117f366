// RUN: plena-opt %s -p sink-layouts | filecheck %s

// Rearrangements pass kernels of rows and elements, until they cancel.

builtin.module {
  func.func @between_heads(%x: tensor<8x64xf32>, %g: tensor<16xf32>) -> tensor<8x64xf32> {
    %0 = plena.rearrange %x {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<8x64xf32>) -> tensor<32x16xf32>
    %1 = plena.rms_norm %0, gain = %g {eps = 1.000000e-05 : f64} : (tensor<32x16xf32>, tensor<16xf32>) -> tensor<32x16xf32>
    %2 = plena.mul_scalar %1, 5.000000e-01 : f64 : (tensor<32x16xf32>) -> tensor<32x16xf32>
    %3 = plena.rearrange %2 {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<32x16xf32>) -> tensor<8x64xf32>
    func.return %3 : tensor<8x64xf32>
  }
  func.func @rows_pass_a_linear(%x: tensor<8x16xf32>, %w: tensor<6x16xf32>) -> tensor<8x6xf32> {
    %0 = plena.rearrange %x {factors = array<i64: 2, 4, 16>, order = array<i64: 1, 0, 2>} : (tensor<8x16xf32>) -> tensor<8x16xf32>
    %1 = plena.linear %0, %w : (tensor<8x16xf32>, tensor<6x16xf32>) -> tensor<8x6xf32>
    %2 = plena.rearrange %1 {factors = array<i64: 4, 2, 6>, order = array<i64: 1, 0, 2>} : (tensor<8x6xf32>) -> tensor<8x6xf32>
    func.return %2 : tensor<8x6xf32>
  }
  func.func @the_host_arranges_inputs(%q: tensor<2x4x8x16xf32>) -> tensor<16x64xf32> {
    %0 = plena.reshape %q : (tensor<2x4x8x16xf32>) -> tensor<64x16xf32>
    %1 = plena.mul_scalar %0, 5.000000e-01 : f64 : (tensor<64x16xf32>) -> tensor<64x16xf32>
    %2 = plena.rearrange %1 {factors = array<i64: 2, 4, 8, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<64x16xf32>) -> tensor<16x64xf32>
    func.return %2 : tensor<16x64xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @between_heads(%x: tensor<8x64xf32>, %g: tensor<16xf32>) -> tensor<8x64xf32> {
// CHECK-NEXT:     %0 = plena.rms_norm %x, gain = %g {eps = 1.000000e-05 : f64, groups = 4 : i64} : (tensor<8x64xf32>, tensor<16xf32>) -> tensor<8x64xf32>
// CHECK-NEXT:     %1 = plena.mul_scalar %0, 5.000000e-01 : f64 : (tensor<8x64xf32>) -> tensor<8x64xf32>
// CHECK-NEXT:     func.return %1 : tensor<8x64xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @rows_pass_a_linear(%x: tensor<8x16xf32>, %w: tensor<6x16xf32>) -> tensor<8x6xf32> {
// CHECK-NEXT:     %0 = plena.linear %x, %w : (tensor<8x16xf32>, tensor<6x16xf32>) -> tensor<8x6xf32>
// CHECK-NEXT:     func.return %0 : tensor<8x6xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @the_host_arranges_inputs(%q: tensor<2x4x8x16xf32>) -> tensor<16x64xf32> {
// CHECK-NEXT:     %0 = plena.rearrange %q {factors = array<i64: 2, 4, 8, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<2x4x8x16xf32>) -> tensor<16x64xf32>
// CHECK-NEXT:     %1 = plena.mul_scalar %0, 5.000000e-01 : f64 : (tensor<16x64xf32>) -> tensor<16x64xf32>
// CHECK-NEXT:     func.return %1 : tensor<16x64xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
