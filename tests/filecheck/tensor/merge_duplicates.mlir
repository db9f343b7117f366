// RUN: plena-opt %s -p merge-duplicates | filecheck %s

// Equal ops merge wherever they come from; ops with other attributes do not.

builtin.module {
  func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
    %0 = plena.activation "silu" %x {plena.module = "a"} : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %1 = plena.activation "silu" %x {plena.module = "b"} : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %2 = plena.activation "tanh" %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %3 = plena.add %0, %1 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    func.return %3, %2 : tensor<4x8xf32>, tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @main(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
// CHECK-NEXT:     %0 = plena.activation "silu" %x {plena.module = "a"} : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %1 = plena.activation "tanh" %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.add %0, %0 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %2, %1 : tensor<4x8xf32>, tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
