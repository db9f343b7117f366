// RUN: plena-opt %s -p fuse-elementwise --split-input-file | filecheck %s

// Two operations in place: one pass, the repeated row is an input of it.

// CHECK-LABEL: builtin.module
// CHECK:       tile.elementwise rows = 16 blocks = 2 out(%x[64, 1024]) in(%x[64, 1024]) in(%bias[0, 64]) {
// CHECK-NEXT:  ^{{.*}}(%[[X:.*]]: !tile.lanes, %[[B:.*]]: !tile.lanes):
// CHECK-NEXT:    %[[SUM:.*]] = tile.lanewise "add" %[[X]], %[[B]] : !tile.lanes
// CHECK-NEXT:    %[[R:.*]] = tile.lanewise "max" %[[SUM]], %zero : !tile.buffer<fp>
// CHECK-NEXT:    tile.yield %[[R]]
// CHECK-NOT:   tile.elementwise
builtin.module {
  %x = tile.buffer @x [2048] : !tile.buffer<vector>
  %bias = tile.buffer @bias [128] : !tile.buffer<vector>
  %zero = tile.constant [0.0 : f64]
  tile.elementwise rows = 16 blocks = 2 out(%x[64, 1024]) in(%x[64, 1024]) in(%bias[0, 64]) {
  ^bb0(%a : !tile.lanes, %b : !tile.lanes):
    %0 = tile.lanewise "add" %a, %b : !tile.lanes
    tile.yield %0
  }
  tile.elementwise rows = 16 blocks = 2 out(%x[64, 1024]) in(%x[64, 1024]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "max" %a, %zero : !tile.buffer<fp>
    tile.yield %0
  }
}

// -----

// The first result is read later: both are written. It moves past the transfer of the other operand.

// CHECK-LABEL: builtin.module
// CHECK:       tile.load_rows dst(%r
// CHECK-NEXT:  tile.elementwise rows = 16 blocks = 1 out(%y[64, 1024]) out(%r[64, 1024]) in(%x[64, 1024]) in(%r[64, 1024]) {
// CHECK:         tile.yield %{{.*}}, %{{.*}}
// CHECK:       tile.shift
builtin.module {
  %x = tile.buffer @x [1024] : !tile.buffer<vector>
  %y = tile.buffer @y [1024] : !tile.buffer<vector>
  %r = tile.buffer @r [1024] : !tile.buffer<vector>
  %h = tile.buffer @h [1024] : !tile.buffer<hbm>
  tile.elementwise rows = 16 blocks = 1 out(%y[64, 1024]) in(%x[64, 1024]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "exp" %a
    tile.yield %0
  }
  tile.load_rows dst(%r : vector) src(%h : hbm) rows = 16 blocks = 1 src_row = 64
  tile.elementwise rows = 16 blocks = 1 out(%r[64, 1024]) in(%y[64, 1024]) in(%r[64, 1024]) {
  ^bb0(%a : !tile.lanes, %b : !tile.lanes):
    %0 = tile.lanewise "mul" %a, %b : !tile.lanes
    tile.yield %0
  }
  tile.shift out(%x : vector) x(%y : vector) rows = 16 blocks = 1 lanes = 1
}

// -----

// Refused: the second repeats the first row of what the first makes.

// CHECK-LABEL: builtin.module
// CHECK:       tile.elementwise
// CHECK:       tile.elementwise
builtin.module {
  %x = tile.buffer @x [1024] : !tile.buffer<vector>
  %y = tile.buffer @y [1024] : !tile.buffer<vector>
  tile.elementwise rows = 16 blocks = 1 out(%y[64, 1024]) in(%x[64, 1024]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "exp" %a
    tile.yield %0
  }
  tile.elementwise rows = 16 blocks = 1 out(%x[64, 1024]) in(%x[64, 1024]) in(%y[0, 1024]) {
  ^bb0(%a : !tile.lanes, %b : !tile.lanes):
    %0 = tile.lanewise "mul" %a, %b : !tile.lanes
    tile.yield %0
  }
}

// -----

// Refused: what the first reads is overwritten in between.

// CHECK-LABEL: builtin.module
// CHECK:       tile.elementwise
// CHECK:       tile.zero
// CHECK:       tile.elementwise
builtin.module {
  %x = tile.buffer @x [1024] : !tile.buffer<vector>
  %y = tile.buffer @y [1024] : !tile.buffer<vector>
  tile.elementwise rows = 16 blocks = 1 out(%y[64, 1024]) in(%x[64, 1024]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "exp" %a
    tile.yield %0
  }
  tile.zero dst(%x : vector) rows = 16
  tile.elementwise rows = 16 blocks = 1 out(%y[64, 1024]) in(%y[64, 1024]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "reciprocal" %a
    tile.yield %0
  }
}

// -----

// The output of the second is that of the first, which another part of the same buffer is an input of: one pass.

// CHECK-LABEL: builtin.module
// CHECK:       tile.elementwise rows = 16 blocks = 1 out(%x[64, 1024]) in(%x[64, 1024]) in(%{{.*}}[64, 1024]) {
// CHECK:         tile.lanewise "mul"
// CHECK-NEXT:    tile.lanewise "exp"
// CHECK-NOT:   tile.elementwise
builtin.module {
  %x = tile.buffer @x [2048] : !tile.buffer<vector>
  %at = loop.affine 1024
  %y = tile.view %x[%at] : !tile.buffer<vector>
  tile.elementwise rows = 16 blocks = 1 out(%x[64, 1024]) in(%x[64, 1024]) in(%y[64, 1024]) {
  ^bb0(%a : !tile.lanes, %b : !tile.lanes):
    %0 = tile.lanewise "mul" %a, %b : !tile.lanes
    tile.yield %0
  }
  tile.elementwise rows = 16 blocks = 1 out(%x[64, 1024]) in(%x[64, 1024]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "exp" %a
    tile.yield %0
  }
}

// -----

// Refused: the second writes over the other part, which the first reads.

// CHECK-LABEL: builtin.module
// CHECK:       tile.elementwise
// CHECK:       tile.elementwise
builtin.module {
  %x = tile.buffer @x [2048] : !tile.buffer<vector>
  %z = tile.buffer @z [1024] : !tile.buffer<vector>
  %at = loop.affine 512
  %y = tile.view %x[%at] : !tile.buffer<vector>
  tile.elementwise rows = 8 blocks = 1 out(%z[64, 512]) in(%y[64, 512]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "exp" %a
    tile.yield %0
  }
  tile.elementwise rows = 8 blocks = 1 out(%x[64, 512]) in(%z[64, 512]) {
  ^bb0(%a : !tile.lanes):
    %0 = tile.lanewise "reciprocal" %a
    tile.yield %0
  }
}
