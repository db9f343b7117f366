// RUN: plena-opt %s -p absorb-expansions | filecheck %s

// A mask repeated over features before pooling is used as a column.

builtin.module {
  func.func @pooling(%h: tensor<2x4x8xf32>, %m: tensor<2x4xi64>) -> tensor<2x8xf32> {
    %0 = aten.view %m : (tensor<2x4xi64>) -> tensor<2x4x1xi64>
    %1 = aten.expand %0 : (tensor<2x4x1xi64>) -> tensor<2x4x8xi64>
    %2 = aten.to %1 : (tensor<2x4x8xi64>) -> tensor<2x4x8xf32>
    %3 = aten.mul %h, %2 : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
    %4 = aten.sum %3 {dim = array<i64: 1>, keepdim = false} : (tensor<2x4x8xf32>) -> tensor<2x8xf32>
    %5 = aten.sum %2 {dim = array<i64: 1>, keepdim = false} : (tensor<2x4x8xf32>) -> tensor<2x8xf32>
    %6 = aten.div %4, %5 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
    func.return %6 : tensor<2x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @pooling(%h: tensor<2x4x8xf32>, %m: tensor<2x4xi64>) -> tensor<2x8xf32> {
// CHECK-NEXT:     %0 = aten.view %m : (tensor<2x4xi64>) -> tensor<2x4x1xi64>
// CHECK-NEXT:     %1 = aten.to %0 : (tensor<2x4x1xi64>) -> tensor<2x4x1xf32>
// CHECK-NEXT:     %2 = aten.mul %h, %1 : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
// CHECK-NEXT:     %3 = aten.sum %2 {dim = array<i64: 1>} : (tensor<2x4x8xf32>) -> tensor<2x8xf32>
// CHECK-NEXT:     %4 = aten.sum %1 {dim = array<i64: 1>} : (tensor<2x4x1xf32>) -> tensor<2x1xf32>
// CHECK-NEXT:     %5 = aten.div %3, %4 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
// CHECK-NEXT:     func.return %5 : tensor<2x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
