// RUN: plena-opt %s -p collect-experts --split-input-file | filecheck %s

// A loop over two experts, on top of what there is: their matrices one behind the other, the weight a column of each.

builtin.module {
  func.func @main(%x: tensor<3x4xf32>, %s: tensor<3x2xf32>) -> tensor<3x4xf32> {
    %a = aten.parameter @a : tensor<4x4xf32>
    %b = aten.parameter @b : tensor<4x4xf32>
    %0 = plena.route %s {k = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x2xf32>
    %1 = aten.mul %0, %s : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x2xf32>
    %2 = aten.slice %1 {dim = 1 : i64, start = 0 : i64, end = 1 : i64, step = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
    %3 = aten.linear %x, %a : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
    %4 = aten.mul %3, %2 : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
    %5 = aten.slice %1 {dim = 1 : i64, start = 1 : i64, end = 2 : i64, step = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x1xf32>
    %6 = aten.linear %x, %b : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
    %7 = aten.mul %6, %5 : (tensor<3x4xf32>, tensor<3x1xf32>) -> tensor<3x4xf32>
    %8 = aten.add %x, %4 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    %9 = aten.add %8, %7 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    func.return %9 : tensor<3x4xf32>
  }
}

// CHECK:      %[[X:.*]]: tensor<3x4xf32>, %s: tensor<3x2xf32>
// CHECK:      %[[MASK:[0-9]+]] = plena.route %s {k = 1 : i64}
// CHECK-NEXT: %[[W:[0-9]+]] = aten.mul %[[MASK]], %s
// CHECK:      %[[STACK:[0-9]+]] = aten.cat {{.*}} {dim = 0 : i64} : (tensor<1x4x4xf32>, tensor<1x4x4xf32>) -> tensor<2x4x4xf32>
// CHECK-NEXT: %[[Y:[0-9]+]] = plena.experts %[[MASK]] : tensor<3x2xf32> rows(%[[X]] : tensor<3x4xf32>) columns(%[[W]] : tensor<3x2xf32>) stacked(%[[STACK]] : tensor<2x4x4xf32>) -> tensor<3x4xf32> {
// CHECK:        %[[H:[0-9]+]] = aten.linear
// CHECK:        aten.mul %[[H]]
// CHECK:        plena.yield
// CHECK-NOT:  aten.linear
// CHECK:      aten.add %[[X]], %[[Y]]
// CHECK-NEXT: func.return

// -----

// Tensors with an axis of experts; the sum is over it.

builtin.module {
  func.func @axis(%x: tensor<3x4xf32>, %s: tensor<3x2xf32>) -> tensor<3x4xf32> {
    %a = aten.parameter @a : tensor<2x4x4xf32>
    %0 = plena.route %s {k = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x2xf32>
    %1 = aten.view %x : (tensor<3x4xf32>) -> tensor<1x3x4xf32>
    %2 = aten.expand %1 : (tensor<1x3x4xf32>) -> tensor<2x3x4xf32>
    %3 = aten.matmul %2, %a : (tensor<2x3x4xf32>, tensor<2x4x4xf32>) -> tensor<2x3x4xf32>
    %4 = aten.permute %0 {dims = array<i64: 1, 0>} : (tensor<3x2xf32>) -> tensor<2x3xf32>
    %5 = aten.view %4 : (tensor<2x3xf32>) -> tensor<2x3x1xf32>
    %6 = aten.mul %3, %5 : (tensor<2x3x4xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
    %7 = aten.sum %6 {dim = array<i64: 0>, keepdim = false} : (tensor<2x3x4xf32>) -> tensor<3x4xf32>
    func.return %7 : tensor<3x4xf32>
  }
}

// CHECK-LABEL: func.func @axis
// CHECK:      plena.experts %{{.*}} : tensor<3x2xf32> rows(%{{.*}} : tensor<3x4xf32>) columns(%{{.*}} : tensor<3x2xf32>) stacked(%a : tensor<2x4x4xf32>)
// CHECK-NOT:  aten.sum
// CHECK:      func.return

// -----

// What is not 0 for experts that are not chosen is no such sum.

builtin.module {
  func.func @others(%x: tensor<3x4xf32>, %s: tensor<3x2xf32>) -> tensor<3x4xf32> {
    %a = aten.parameter @a : tensor<2x4x4xf32>
    %0 = plena.route %s {k = 1 : i64} : (tensor<3x2xf32>) -> tensor<3x2xf32>
    %1 = aten.view %x : (tensor<3x4xf32>) -> tensor<1x3x4xf32>
    %2 = aten.expand %1 : (tensor<1x3x4xf32>) -> tensor<2x3x4xf32>
    %3 = aten.matmul %2, %a : (tensor<2x3x4xf32>, tensor<2x4x4xf32>) -> tensor<2x3x4xf32>
    %4 = aten.permute %0 {dims = array<i64: 1, 0>} : (tensor<3x2xf32>) -> tensor<2x3xf32>
    %5 = aten.view %4 : (tensor<2x3xf32>) -> tensor<2x3x1xf32>
    %6 = aten.add %3, %5 : (tensor<2x3x4xf32>, tensor<2x3x1xf32>) -> tensor<2x3x4xf32>
    %7 = aten.sum %6 {dim = array<i64: 0>, keepdim = false} : (tensor<2x3x4xf32>) -> tensor<3x4xf32>
    func.return %7 : tensor<3x4xf32>
  }
}

// CHECK-LABEL: func.func @others
// CHECK-NOT:  plena.experts
// CHECK:      aten.sum
