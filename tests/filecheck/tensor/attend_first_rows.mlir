// RUN: plena-opt %s -p attend-first-rows | filecheck %s

// The first rows of every sample of a cache: attention reads them in place. Other rows, and other tensors, stay slices.

builtin.module {
  func.func @written(%q: tensor<2x8xf32>, %n: tensor<2x8xf32>, %p: tensor<2xi64>) -> tensor<2x8xf32> {
    %0 = plena.state <@keys> : tensor<16x8xf32>
    %1 = plena.write_rows %0, %n, %p {batch = 1 : i64} : (tensor<16x8xf32>, tensor<2x8xf32>, tensor<2xi64>) -> tensor<16x8xf32>
    %2 = plena.slice %1 {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 8>} : (tensor<16x8xf32>) -> tensor<8x8xf32>
    %3 = plena.attention %q, %2, %2 : tensor<2x8xf32>, tensor<8x8xf32>, tensor<8x8xf32> {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<2x8xf32>
    func.return %3 : tensor<2x8xf32>
  }
  func.func @sample(%q: tensor<2x8xf32>, %slot: tensor<1xi64>) -> tensor<2x8xf32> {
    %0 = plena.state <@keys> : tensor<16x8xf32>
    %1 = plena.pick_sample %0, %slot {batch = 2 : i64} : (tensor<16x8xf32>, tensor<1xi64>) -> tensor<8x8xf32>
    %2 = plena.slice %1 {groups = array<i64: 1, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 8>} : (tensor<8x8xf32>) -> tensor<4x8xf32>
    %3 = plena.attention %q, %2, %2 : tensor<2x8xf32>, tensor<4x8xf32>, tensor<4x8xf32> {batch = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<2x8xf32>
    func.return %3 : tensor<2x8xf32>
  }
  func.func @last(%q: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %0 = plena.state <@keys> : tensor<16x8xf32>
    %1 = plena.slice %0 {groups = array<i64: 2, 1>, offsets = array<i64: 4, 0>, sizes = array<i64: 4, 8>} : (tensor<16x8xf32>) -> tensor<8x8xf32>
    %2 = plena.attention %q, %1, %1 : tensor<2x8xf32>, tensor<8x8xf32>, tensor<8x8xf32> {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<2x8xf32>
    func.return %2 : tensor<2x8xf32>
  }
  func.func @no_state(%q: tensor<2x8xf32>, %k: tensor<16x8xf32>) -> tensor<2x8xf32> {
    %0 = plena.slice %k {groups = array<i64: 2, 1>, offsets = array<i64: 0, 0>, sizes = array<i64: 4, 8>} : (tensor<16x8xf32>) -> tensor<8x8xf32>
    %1 = plena.attention %q, %0, %0 : tensor<2x8xf32>, tensor<8x8xf32>, tensor<8x8xf32> {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64} -> tensor<2x8xf32>
    func.return %1 : tensor<2x8xf32>
  }
}

// CHECK:      func.func @written(
// CHECK-NEXT:   %0 = plena.state <@keys> : tensor<16x8xf32>
// CHECK-NEXT:   %1 = plena.write_rows %0, %n, %p {batch = 1 : i64} : (tensor<16x8xf32>, tensor<2x8xf32>, tensor<2xi64>) -> tensor<16x8xf32>
// CHECK-NEXT:   %2 = plena.attention %q, %1, %1 : tensor<2x8xf32>, tensor<16x8xf32>, tensor<16x8xf32> {batch = 2 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64, first_keys = 4 : i64} -> tensor<2x8xf32>
// CHECK:      func.func @sample(
// CHECK:        %1 = plena.pick_sample %0, %slot
// CHECK-NEXT:   %2 = plena.attention %q, %1, %1 : tensor<2x8xf32>, tensor<8x8xf32>, tensor<8x8xf32> {batch = 1 : i64, heads = 1 : i64, kv_heads = 1 : i64, scale = 1.000000e+00 : f64, first_keys = 4 : i64} -> tensor<2x8xf32>
// CHECK:      func.func @last(
// CHECK:        plena.slice
// CHECK-NEXT:   plena.attention
// CHECK-NOT:    first_keys
// CHECK:      func.func @no_state(
// CHECK:        plena.slice
// CHECK-NEXT:   plena.attention
// CHECK-NOT:    first_keys
