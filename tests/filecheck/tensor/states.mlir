// RUN: plena-opt %s -p convert-aten-to-plena,canonicalize-layouts | filecheck %s

// A cache [batch, heads, length, size] is a matrix of positions by heads; samples are row groups.
builtin.module {
  func.func @cache(%x: tensor<2x3x1x4xf32>, %at: tensor<1xi64>) -> tensor<2x3x8x4xf32> {
    %0 = aten.state @keys : tensor<2x3x8x4xf32>
    %1 = aten.index_copy %0, %at, %x {dim = 2} : (tensor<2x3x8x4xf32>, tensor<1xi64>, tensor<2x3x1x4xf32>) -> tensor<2x3x8x4xf32>
    aten.write_state @keys, %1 : tensor<2x3x8x4xf32>
    func.return %1 : tensor<2x3x8x4xf32>
  }
  // A sample whose number a run knows is read where it lies.
  func.func @sample(%slot: tensor<1xi64>) -> tensor<1x3x8x4xf32> {
    %0 = aten.state @keys : tensor<2x3x8x4xf32>
    %1 = aten.index_select %0, %slot {dim = 0} : (tensor<2x3x8x4xf32>, tensor<1xi64>) -> tensor<1x3x8x4xf32>
    func.return %1 : tensor<1x3x8x4xf32>
  }
  // A buffer that is computed as a whole is written as a whole.
  func.func @counter(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = aten.state @calls : tensor<8xf32>
    %1 = aten.full 1.000000e+00 : f64 : tensor<f32>
    %2 = aten.add %0, %1 : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32>
    %3 = aten.add %x, %2 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    aten.write_state @calls, %2 : tensor<8xf32>
    func.return %3 : tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @cache(%x: tensor<2x3x1x4xf32>, %at: tensor<1xi64>) -> tensor<2x3x8x4xf32> {
// CHECK-NEXT:     %0 = plena.state <#plena.view<@keys, [reshape [2, 3, 8, 4], permute [0, 2, 1, 3], reshape [16, 12]]>> : tensor<16x12xf32>
// CHECK-NEXT:     %1 = plena.reshape %x : (tensor<2x3x1x4xf32>) -> tensor<2x12xf32>
// CHECK-NEXT:     %2 = plena.write_rows %0, %1, %at {batch = 2 : i64} : (tensor<16x12xf32>, tensor<2x12xf32>, tensor<1xi64>) -> tensor<16x12xf32>
// CHECK-NEXT:     %3 = plena.rearrange %2 {factors = array<i64: 2, 8, 3, 4>, order = array<i64: 0, 2, 1, 3>} : (tensor<16x12xf32>) -> tensor<2x3x8x4xf32>
// CHECK-NEXT:     func.return %3 : tensor<2x3x8x4xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @sample(%slot: tensor<1xi64>) -> tensor<1x3x8x4xf32> {
// CHECK-NEXT:     %0 = plena.state <#plena.view<@keys, [reshape [48, 4]]>> : tensor<48x4xf32>
// CHECK-NEXT:     %1 = plena.pick_sample %0, %slot {batch = 2 : i64} : (tensor<48x4xf32>, tensor<1xi64>) -> tensor<24x4xf32>
// CHECK-NEXT:     %2 = plena.reshape %1 : (tensor<24x4xf32>) -> tensor<1x3x8x4xf32>
// CHECK-NEXT:     func.return %2 : tensor<1x3x8x4xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @counter(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.state <#plena.view<@calls, [reshape [1, 8]]>> : tensor<1x8xf32>
// CHECK-NEXT:     %1 = plena.add_scalar %0, 1.000000e+00 : f64 : (tensor<1x8xf32>) -> tensor<1x8xf32>
// CHECK-NEXT:     %2 = plena.reshape %1 : (tensor<1x8xf32>) -> tensor<8xf32>
// CHECK-NEXT:     %3 = plena.add %x, %2 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     plena.write_state %0, %1 : tensor<1x8xf32>, tensor<1x8xf32>
// CHECK-NEXT:     func.return %3 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
