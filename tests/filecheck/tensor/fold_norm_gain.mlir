// RUN: plena-opt %s -p fold-norm-gain | filecheck %s

// Gain and bias of a norm move into all the linears behind it, or stay.

builtin.module {
  func.func @layer_norm(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
    %0 = plena.parameter @g : tensor<8xf32>
    %1 = plena.parameter @b : tensor<8xf32>
    %2 = plena.layer_norm %x : tensor<4x8xf32> gain(%0 : tensor<8xf32>) bias(%1 : tensor<8xf32>) {eps = 1.000000e-05 : f64} -> tensor<4x8xf32>
    %3 = plena.parameter @w : tensor<6x8xf32>
    %4 = plena.parameter @c : tensor<6xf32>
    %5 = plena.linear %2, %3, bias = %4 : (tensor<4x8xf32>, tensor<6x8xf32>, tensor<6xf32>) -> tensor<4x6xf32>
    func.return %5 : tensor<4x6xf32>
  }
  func.func @read_by_others(%x: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<4x8xf32>) {
    %0 = plena.parameter @g : tensor<8xf32>
    %1 = plena.rms_norm %x, gain = %0 {eps = 1.000000e-05 : f64} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    %2 = plena.parameter @w : tensor<6x8xf32>
    %3 = plena.linear %1, %2 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
    func.return %3, %1 : tensor<4x6xf32>, tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @layer_norm(%x: tensor<4x8xf32>) -> tensor<4x6xf32> {
// CHECK-NEXT:     %0 = plena.layer_norm %x : tensor<4x8xf32> {eps = 1.000000e-05 : f64} -> tensor<4x8xf32>
// CHECK-NEXT:     %1 = plena.parameter #plena.product<@w, @g> : tensor<6x8xf32>
// CHECK-NEXT:     %2 = plena.parameter #plena.sum<#plena.matvec<@w, @b>, @c> : tensor<6xf32>
// CHECK-NEXT:     %3 = plena.linear %0, %1, bias = %2 : (tensor<4x8xf32>, tensor<6x8xf32>, tensor<6xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     func.return %3 : tensor<4x6xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @read_by_others(%x: tensor<4x8xf32>) -> (tensor<4x6xf32>, tensor<4x8xf32>) {
// CHECK-NEXT:     %0 = plena.parameter @g : tensor<8xf32>
// CHECK-NEXT:     %1 = plena.rms_norm %x, gain = %0 {eps = 1.000000e-05 : f64} : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.parameter @w : tensor<6x8xf32>
// CHECK-NEXT:     %3 = plena.linear %1, %2 : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
// CHECK-NEXT:     func.return %3, %1 : tensor<4x6xf32>, tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
