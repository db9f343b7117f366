// RUN: plena-opt %s -p canonicalize-layouts | filecheck %s

// Chains of layout ops become one in canonical form.

builtin.module {
  func.func @heads(%x: tensor<8x64xf32>) -> tensor<2x4x4x16xf32> {
    %0 = plena.reshape %x : (tensor<8x64xf32>) -> tensor<2x4x4x16xf32>
    %1 = plena.rearrange %0 {factors = array<i64: 2, 4, 1, 4, 4, 4>, order = array<i64: 0, 3, 2, 1, 4, 5>} : (tensor<2x4x4x16xf32>) -> tensor<2x4x4x16xf32>
    func.return %1 : tensor<2x4x4x16xf32>
  }
  func.func @unit_axes_do_not_move(%x: tensor<8x64xf32>) -> tensor<64x8xf32> {
    %0 = plena.rearrange %x {factors = array<i64: 8, 1, 64>, order = array<i64: 1, 0, 2>} : (tensor<8x64xf32>) -> tensor<8x64xf32>
    %1 = plena.rearrange %0 {factors = array<i64: 8, 64>, order = array<i64: 1, 0>} : (tensor<8x64xf32>) -> tensor<64x8xf32>
    func.return %1 : tensor<64x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @heads(%x: tensor<8x64xf32>) -> tensor<2x4x4x16xf32> {
// CHECK-NEXT:     %0 = plena.rearrange %x {factors = array<i64: 2, 4, 4, 16>, order = array<i64: 0, 2, 1, 3>} : (tensor<8x64xf32>) -> tensor<2x4x4x16xf32>
// CHECK-NEXT:     func.return %0 : tensor<2x4x4x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @unit_axes_do_not_move(%x: tensor<8x64xf32>) -> tensor<64x8xf32> {
// CHECK-NEXT:     %0 = plena.rearrange %x {factors = array<i64: 8, 64>, order = array<i64: 1, 0>} : (tensor<8x64xf32>) -> tensor<64x8xf32>
// CHECK-NEXT:     func.return %0 : tensor<64x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
