// RUN: plena-opt %s -p scale-before-products | filecheck %s

// A number that all a linear layer makes is multiplied by moves to what it reads, or stays.

builtin.module {
  func.func @wider(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x16xf32> {
    %0 = plena.parameter @a : tensor<16x8xf32>
    %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
    %2 = plena.expand %w : (tensor<1xf32>) -> tensor<16xf32>
    %3 = plena.mul %1, %2 : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
    func.return %3 : tensor<4x16xf32>
  }
  func.func @behind_an_activation(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x8xf32> {
    %0 = plena.parameter @a : tensor<8x8xf32>
    %1 = plena.activation "relu" %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
    %2 = plena.linear %1, %0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %3 = plena.expand %w : (tensor<1xf32>) -> tensor<8xf32>
    %4 = plena.mul %2, %3 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    func.return %4 : tensor<4x8xf32>
  }
  func.func @as_wide(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x8xf32> {
    %0 = plena.parameter @a : tensor<8x8xf32>
    %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %2 = plena.expand %w : (tensor<1xf32>) -> tensor<8xf32>
    %3 = plena.mul %1, %2 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
    func.return %3 : tensor<4x8xf32>
  }
  func.func @with_bias(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x16xf32> {
    %0 = plena.parameter @a : tensor<16x8xf32>
    %1 = plena.parameter @b : tensor<16xf32>
    %2 = plena.linear %x, %0, bias = %1 : (tensor<4x8xf32>, tensor<16x8xf32>, tensor<16xf32>) -> tensor<4x16xf32>
    %3 = plena.expand %w : (tensor<1xf32>) -> tensor<16xf32>
    %4 = plena.mul %2, %3 : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
    func.return %4 : tensor<4x16xf32>
  }
  func.func @read_by_others(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> (tensor<4x16xf32>, tensor<4x8xf32>) {
    %0 = plena.parameter @a : tensor<16x8xf32>
    %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
    %2 = plena.expand %w : (tensor<1xf32>) -> tensor<16xf32>
    %3 = plena.mul %1, %2 : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
    func.return %3, %x : tensor<4x16xf32>, tensor<4x8xf32>
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @wider(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x16xf32> {
// CHECK-NEXT:     %0 = plena.parameter @a : tensor<16x8xf32>
// CHECK-NEXT:     %1 = plena.expand %w : (tensor<1xf32>) -> tensor<8xf32>
// CHECK-NEXT:     %2 = plena.mul %x, %1 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %3 = plena.linear %2, %0 : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     func.return %3 : tensor<4x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @behind_an_activation(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.parameter @a : tensor<8x8xf32>
// CHECK-NEXT:     %1 = plena.activation "relu" %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.expand %w : (tensor<1xf32>) -> tensor<8xf32>
// CHECK-NEXT:     %3 = plena.mul %1, %2 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %4 = plena.linear %3, %0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %4 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @as_wide(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:     %0 = plena.parameter @a : tensor<8x8xf32>
// CHECK-NEXT:     %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     %2 = plena.expand %w : (tensor<1xf32>) -> tensor<8xf32>
// CHECK-NEXT:     %3 = plena.mul %1, %2 : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:     func.return %3 : tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @with_bias(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> tensor<4x16xf32> {
// CHECK-NEXT:     %0 = plena.parameter @a : tensor<16x8xf32>
// CHECK-NEXT:     %1 = plena.parameter @b : tensor<16xf32>
// CHECK-NEXT:     %2 = plena.linear %x, %0, bias = %1 : (tensor<4x8xf32>, tensor<16x8xf32>, tensor<16xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     %3 = plena.expand %w : (tensor<1xf32>) -> tensor<16xf32>
// CHECK-NEXT:     %4 = plena.mul %2, %3 : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     func.return %4 : tensor<4x16xf32>
// CHECK-NEXT:   }
// CHECK-NEXT:   func.func @read_by_others(%x: tensor<4x8xf32>, %w: tensor<1xf32>) -> (tensor<4x16xf32>, tensor<4x8xf32>) {
// CHECK-NEXT:     %0 = plena.parameter @a : tensor<16x8xf32>
// CHECK-NEXT:     %1 = plena.linear %x, %0 : (tensor<4x8xf32>, tensor<16x8xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     %2 = plena.expand %w : (tensor<1xf32>) -> tensor<16xf32>
// CHECK-NEXT:     %3 = plena.mul %1, %2 : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
// CHECK-NEXT:     func.return %3, %x : tensor<4x16xf32>, tensor<4x8xf32>
// CHECK-NEXT:   }
// CHECK-NEXT: }
