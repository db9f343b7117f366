// RUN: plena-opt %s --pass-pipeline "split-layers{parts=3}" | filecheck %s

// Seven layers in three loops: what is left is shared evenly, in order, and carried from loop to loop.
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = plena.repeat %x {times = 7 : i64, stacked = [[@a, @b, @c, @d, @e, @f, @g]]} : (tensor<4x4xf32>) -> tensor<4x4xf32> {
  ^bb0(%1: tensor<4x4xf32>, %2: tensor<4x4xf32>):
    %3 = plena.linear %1, %2 : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
    plena.yield %3 : tensor<4x4xf32>
  }
  func.return %0 : tensor<4x4xf32>
}

// CHECK:      %[[A:.*]] = plena.repeat %x {times = 3 : i64, stacked = {{\[\[}}@a, @b, @c]]}
// CHECK:      %[[B:.*]] = plena.repeat %[[A]] {times = 2 : i64, stacked = {{\[\[}}@d, @e]]}
// CHECK:      %[[C:.*]] = plena.repeat %[[B]] {times = 2 : i64, stacked = {{\[\[}}@f, @g]]}
// CHECK:      func.return %[[C]]
