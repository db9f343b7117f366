// RUN: plena-opt %s -p fuse-gates | filecheck %s

// Activations written out, alone and as gates.

builtin.module {
  func.func @silu(%g: tensor<4x8xf32>, %u: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = aten.sigmoid %g : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %1 = aten.mul %g, %0 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %2 = aten.mul %u, %1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    func.return %2 : tensor<4x8xf32>
  }
  func.func @gelu_of_erf(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = aten.full 7.071068e-01 : f64 : tensor<f32>
    %1 = aten.mul %x, %0 : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
    %2 = aten.erf %1 : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %3 = aten.full 1.000000e+00 : f64 : tensor<f32>
    %4 = aten.add %2, %3 : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
    %5 = aten.full 5.000000e-01 : f64 : tensor<f32>
    %6 = aten.mul %x, %5 : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
    %7 = aten.mul %6, %4 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    func.return %7 : tensor<4x8xf32>
  }
  func.func @quick(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = aten.full 1.702000e+00 : f64 : tensor<f32>
    %1 = aten.mul %0, %x : (tensor<f32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %2 = aten.sigmoid %1 : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %3 = aten.mul %x, %2 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    func.return %3 : tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @silu(%g: tensor<4x8xf32>, %u: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.gate "silu" %g, %u : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %0 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @gelu_of_erf(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.activation "gelu_erf" %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %0 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @quick(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.activation "gelu_quick" %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %0 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
