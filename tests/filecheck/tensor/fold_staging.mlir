// RUN: plena-opt %s -p fold-staging | filecheck %s

// What happens to parameters only is staged; biases join, embeddings add once.

builtin.module {
  func.func @weights(%x: tensor<4x8xf32>) -> tensor<4x3xf32> {
    %0 = plena.parameter @w : tensor<8x6xf32>
    %1 = plena.rearrange %0 {factors = array<i64: 8, 6>, order = array<i64: 1, 0>} : (tensor<8x6xf32>) -> tensor<6x8xf32>
    %2 = plena.slice %1 {offsets = array<i64: 3, 0>, sizes = array<i64: 3, 8>} : (tensor<6x8xf32>) -> tensor<3x8xf32>
    %3 = plena.linear %x, %2 : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x3xf32>
    %4 = plena.parameter @b : tensor<3xf32>
    %5 = plena.add %3, %4 : (tensor<4x3xf32>, tensor<3xf32>) -> tensor<4x3xf32>
    func.return %5 : tensor<4x3xf32>
  }
  func.func @embeddings(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
    %0 = plena.parameter @positions : tensor<2x8xf32>
    %1 = plena.expand %0 : (tensor<2x8xf32>) -> tensor<2x2x8xf32>
    %2 = plena.reshape %1 : (tensor<2x2x8xf32>) -> tensor<4x8xf32>
    %3 = plena.parameter @kinds : tensor<4x8xf32>
    %4 = plena.add %x, %2 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    %5 = plena.add %4, %3 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
    func.return %5 : tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @weights(%x: tensor<4x8xf32>) -> tensor<4x3xf32> {
// CHECK-NEXT:     %0 = plena.parameter #plena.view<@w, [permute [1, 0], slice 0 3 6 1]> : tensor<3x8xf32>
// CHECK-NEXT:     %1 = plena.parameter @b : tensor<3xf32>
// CHECK-NEXT:     %2 = plena.linear %x, %0, bias = %1 : (tensor<4x8xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<4x3xf32>
// CHECK-NEXT:     func.return %2 : tensor<4x3xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @embeddings(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.parameter #plena.sum<#plena.view<@positions, [expand [2, 2, 8], reshape [4, 8]]>, @kinds> : tensor<4x8xf32>
// CHECK-NEXT:     %1 = plena.add %x, %0 : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %1 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
