// RUN: plena-opt %s -p share-projections | filecheck %s

// Linears of one input, all with or all without a bias, become one op.

builtin.module {
  func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<4x2xf32>, tensor<4x3xf32>) {
    %0 = plena.parameter @gate : tensor<6x8xf32>
    %1 = plena.linear %x, %0 {plena.module = "mlp.gate"} : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
    %2 = plena.parameter @up : tensor<2x8xf32>
    %3 = plena.linear %x, %2 {plena.module = "mlp.up"} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<4x2xf32>
    %4 = plena.parameter @other : tensor<3x8xf32>
    %5 = plena.parameter @bias : tensor<3xf32>
    %6 = plena.linear %x, %4, bias = %5 : (tensor<4x8xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<4x3xf32>
    func.return %1, %3, %6 : tensor<4x6xf32>, tensor<4x2xf32>, tensor<4x3xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<4x2xf32>, tensor<4x3xf32>) {
// CHECK-NEXT:     %0 = plena.parameter @gate : tensor<6x8xf32>
// CHECK-NEXT:     %1 = plena.parameter @up : tensor<2x8xf32>
// CHECK-NEXT:     %2, %3 = plena.projections %x : tensor<4x8xf32> weights(%0, %1 : tensor<6x8xf32>, tensor<2x8xf32>) {plena.module = "mlp.{gate,up}"} -> tensor<4x6xf32>, tensor<4x2xf32>
// CHECK-NEXT:     %4 = plena.parameter @other : tensor<3x8xf32>
// CHECK-NEXT:     %5 = plena.parameter @bias : tensor<3xf32>
// CHECK-NEXT:     %6 = plena.linear %x, %4, bias = %5 : (tensor<4x8xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<4x3xf32>
// CHECK-NEXT:     func.return %2, %3, %6 : tensor<4x6xf32>, tensor<4x2xf32>, tensor<4x3xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
