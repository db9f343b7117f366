// RUN: plena-opt %s -p keep-operands-finite | filecheck %s

// The norms of three rows, and the norm of one that was repeated for its row.

builtin.module {
  func.func @similarities(%a: tensor<2x64xf32>, %b: tensor<3x64xf32>) -> tensor<2x3xf32> {
    %0 = plena.mul %b, %b : (tensor<3x64xf32>, tensor<3x64xf32>) -> tensor<3x64xf32>
    %1 = plena.reduce "sum" over "features" %0 : (tensor<3x64xf32>) -> tensor<3x1xf32>
    %2 = plena.activation "sqrt" %1 : (tensor<3x1xf32>) -> tensor<3x1xf32>
    %3 = plena.div %b, %2 : (tensor<3x64xf32>, tensor<3x1xf32>) -> tensor<3x64xf32>
    %4 = plena.matmul %a, %3 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<3x64xf32>) -> tensor<2x3xf32>
    func.return %4 : tensor<2x3xf32>
  }
  func.func @one(%a: tensor<2x64xf32>, %b: tensor<1x64xf32>) -> tensor<2x1xf32> {
    %0 = plena.mul %b, %b : (tensor<1x64xf32>, tensor<1x64xf32>) -> tensor<1x64xf32>
    %1 = plena.reduce "sum" over "features" %0 : (tensor<1x64xf32>) -> tensor<1x1xf32>
    %2 = plena.activation "sqrt" %1 : (tensor<1x1xf32>) -> tensor<1x1xf32>
    %3 = plena.reshape %2 : (tensor<1x1xf32>) -> tensor<1xf32>
    %4 = plena.expand %3 : (tensor<1xf32>) -> tensor<64xf32>
    %5 = plena.div %b, %4 : (tensor<1x64xf32>, tensor<64xf32>) -> tensor<1x64xf32>
    %6 = plena.matmul %a, %5 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<1x64xf32>) -> tensor<2x1xf32>
    func.return %6 : tensor<2x1xf32>
  }

  // Another divisor than its own norm could make infinity of some of a row, and a product has that or NaN.

  func.func @not_its_norm(%a: tensor<2x64xf32>, %b: tensor<3x64xf32>, %c: tensor<3x1xf32>) -> tensor<2x3xf32> {
    %0 = plena.div %b, %c : (tensor<3x64xf32>, tensor<3x1xf32>) -> tensor<3x64xf32>
    %1 = plena.matmul %a, %0 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<3x64xf32>) -> tensor<2x3xf32>
    func.return %1 : tensor<2x3xf32>
  }
}

// CHECK:      func.func @similarities(%a: tensor<2x64xf32>, %b: tensor<3x64xf32>) -> tensor<2x3xf32> {
// CHECK-NEXT:   %0 = plena.mul %b, %b : (tensor<3x64xf32>, tensor<3x64xf32>) -> tensor<3x64xf32>
// CHECK-NEXT:   %1 = plena.reduce "sum" over "features" %0 : (tensor<3x64xf32>) -> tensor<3x1xf32>
// CHECK-NEXT:   %2 = plena.activation "sqrt" %1 : (tensor<3x1xf32>) -> tensor<3x1xf32>
// CHECK-NEXT:   %3 = plena.clamp %2 {min = 7.8886090522101181e-31 : f64} : (tensor<3x1xf32>) -> tensor<3x1xf32>
// CHECK-NEXT:   %4 = plena.div %b, %3 : (tensor<3x64xf32>, tensor<3x1xf32>) -> tensor<3x64xf32>
// CHECK-NEXT:   %5 = plena.matmul %a, %4 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<3x64xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:   %6 = plena.mul_scalar %2, 0.000000e+00 : f64 : (tensor<3x1xf32>) -> tensor<3x1xf32>
// CHECK-NEXT:   %7 = plena.div %6, %2 : (tensor<3x1xf32>, tensor<3x1xf32>) -> tensor<3x1xf32>
// CHECK-NEXT:   %8 = plena.reshape %7 : (tensor<3x1xf32>) -> tensor<3xf32>
// CHECK-NEXT:   %9 = plena.add %5, %8 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:   func.return %9 : tensor<2x3xf32>
// CHECK-NEXT: }
// CHECK-NEXT: func.func @one(%a: tensor<2x64xf32>, %b: tensor<1x64xf32>) -> tensor<2x1xf32> {
// CHECK-NEXT:   %0 = plena.mul %b, %b : (tensor<1x64xf32>, tensor<1x64xf32>) -> tensor<1x64xf32>
// CHECK-NEXT:   %1 = plena.reduce "sum" over "features" %0 : (tensor<1x64xf32>) -> tensor<1x1xf32>
// CHECK-NEXT:   %2 = plena.activation "sqrt" %1 : (tensor<1x1xf32>) -> tensor<1x1xf32>
// CHECK-NEXT:   %3 = plena.clamp %2 {min = 7.8886090522101181e-31 : f64} : (tensor<1x1xf32>) -> tensor<1x1xf32>
// CHECK-NEXT:   %4 = plena.div %b, %3 : (tensor<1x64xf32>, tensor<1x1xf32>) -> tensor<1x64xf32>
// CHECK-NEXT:   %5 = plena.matmul %a, %4 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<1x64xf32>) -> tensor<2x1xf32>
// CHECK-NEXT:   %6 = plena.mul_scalar %2, 0.000000e+00 : f64 : (tensor<1x1xf32>) -> tensor<1x1xf32>
// CHECK-NEXT:   %7 = plena.div %6, %2 : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
// CHECK-NEXT:   %8 = plena.reshape %7 : (tensor<1x1xf32>) -> tensor<1xf32>
// CHECK-NEXT:   %9 = plena.add %5, %8 : (tensor<2x1xf32>, tensor<1xf32>) -> tensor<2x1xf32>
// CHECK-NEXT:   func.return %9 : tensor<2x1xf32>
// CHECK-NEXT: }
// CHECK-NEXT: func.func @not_its_norm(%a: tensor<2x64xf32>, %b: tensor<3x64xf32>, %c: tensor<3x1xf32>) -> tensor<2x3xf32> {
// CHECK-NEXT:   %0 = plena.div %b, %c : (tensor<3x64xf32>, tensor<3x1xf32>) -> tensor<3x64xf32>
// CHECK-NEXT:   %1 = plena.matmul %a, %0 {batch = 1 : i64, transpose_rhs = true} : (tensor<2x64xf32>, tensor<3x64xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:   func.return %1 : tensor<2x3xf32>
// CHECK-NEXT: }
