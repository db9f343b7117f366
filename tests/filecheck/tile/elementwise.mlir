// RUN: PLENA_ROUNDTRIP

// Elementwise bodies: results in place and apart, rows and words, chains.

builtin.module {
  %x = tile.buffer @x [640] : !tile.buffer<vector>
  %y = tile.buffer @y [640] : !tile.buffer<vector>
  %z = tile.buffer @z [640] : !tile.buffer<vector>
  %f = tile.buffer @f [1] : !tile.buffer<fp>
  %c = tile.constant [0.5]
  tile.elementwise rows = 5 blocks = 2 out(%x[64, 320]) in(%x[64, 320]) {
  ^bb0(%a : !tile.lanes):
    %r = tile.lanewise "exp" %a
    tile.yield %r
  }
  tile.elementwise rows = 5 blocks = 2 out(%x[64, 320]) out(%z[64, 0]) in(%x[64, 320]) in(%y[0, 0]) scratch(%y) {
  ^bb0(%a : !tile.lanes, %b : !tile.lanes):
    %0 = tile.lanewise "add" %a, %b : !tile.lanes
    %1 = tile.lanewise "mul" %0, %f : !tile.buffer<fp>
    %2 = tile.lanewise "reverse_sub" %1, %c : !tile.buffer<fp>
    %3 = tile.lanewise "reciprocal" %2
    tile.yield %3, %1
  } attributes {plena.step = "gate"}
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %x = tile.buffer @x [640] : !tile.buffer<vector>
// CHECK-NEXT:   %y = tile.buffer @y [640] : !tile.buffer<vector>
// CHECK-NEXT:   %z = tile.buffer @z [640] : !tile.buffer<vector>
// CHECK-NEXT:   %f = tile.buffer @f [1] : !tile.buffer<fp>
// CHECK-NEXT:   %c = tile.constant [5.000000e-01 : f64]
// CHECK-NEXT:   tile.elementwise rows = 5 blocks = 2 out(%x[64, 320]) in(%x[64, 320]) {
// CHECK-NEXT:   ^bb0(%a: !tile.lanes):
// CHECK-NEXT:     %r = tile.lanewise "exp" %a
// CHECK-NEXT:     tile.yield %r
// CHECK-NEXT:   }
// CHECK-NEXT:   tile.elementwise rows = 5 blocks = 2 out(%x[64, 320]) out(%z[64, 0]) in(%x[64, 320]) in(%y[0, 0]) scratch(%y) {
// CHECK-NEXT:   ^bb0(%a_1: !tile.lanes, %b: !tile.lanes):
// CHECK-NEXT:     %0 = tile.lanewise "add" %a_1, %b : !tile.lanes
// CHECK-NEXT:     %1 = tile.lanewise "mul" %0, %f : !tile.buffer<fp>
// CHECK-NEXT:     %2 = tile.lanewise "reverse_sub" %1, %c : !tile.buffer<fp>
// CHECK-NEXT:     %3 = tile.lanewise "reciprocal" %2
// CHECK-NEXT:     tile.yield %3, %1
// CHECK-NEXT:   } attributes {plena.step = "gate"}
// CHECK-NEXT: }
