// RUN: plena-opt %s -p convert-plena-to-tile --split-input-file | filecheck %s

// A gate is one pass; it overwrites what nothing reads any more.

// CHECK-LABEL: builtin.module
// CHECK:       %[[G:[0-9]+]] = tile.buffer @input0 [
// CHECK-SAME:  placements [#tile.placement<"output_0" of output 0
// CHECK:       %[[U:[0-9]+]] = tile.buffer @input1 [
// CHECK:       tile.elementwise rows = 16 blocks = 2 out(%[[G]][64, 1024]) in(%[[G]][64, 1024]) in(%[[U]][64, 1024]) scratch(%{{.*}}) {
// CHECK:         "reverse_sub"
// CHECK-NEXT:    "exp"
// CHECK-NEXT:    "add"
// CHECK-NEXT:    "reciprocal"
// CHECK-NEXT:    "mul"
// CHECK-NEXT:    "mul"
// CHECK-NEXT:    tile.yield
builtin.module {
  func.func @main(%g: tensor<16x128xf32>, %u: tensor<16x128xf32>) -> tensor<16x128xf32> {
    %0 = plena.gate "silu" %g, %u : (tensor<16x128xf32>, tensor<16x128xf32>) -> tensor<16x128xf32>
    func.return %0 : tensor<16x128xf32>
  }
}

// -----

// Columns that end within a block: a mask of lanes. The epsilon is too small for fp16, N times it too: it is computed.

// CHECK-LABEL: builtin.module
// CHECK:       %[[EPS:[0-9]+]] = tile.buffer @number [1] : !tile.buffer<fp>
// CHECK:       tile.map_scalars kind = "mul" out(%[[EPS]] : fp)
// CHECK:       tile.load_rows dst(%[[MASK:[0-9]+]] : vector)
// CHECK:       tile.normalize_rows kind = "layer" out(%[[X:[0-9]+]] : vector) scratch(%{{.*}} : vector) x(%[[X]] : vector) eps(%[[EPS]] : fp)
// CHECK-SAME:  mask(%[[MASK]] : vector) rows = 16 blocks = 2 x_block = 1024 out_block = 1024
builtin.module {
  func.func @main(%x: tensor<16x100xf32>) -> tensor<16x100xf32> {
    %0 = plena.layer_norm %x : tensor<16x100xf32> {eps = 1.0e-12 : f64} -> tensor<16x100xf32>
    func.return %0 : tensor<16x100xf32>
  }
}

// -----

// Heads that share a row of lanes are normalised under masks.

// CHECK-LABEL: builtin.module
// CHECK:       tile.normalize_lane_groups kind = "rms"
// CHECK-SAME:  blocks = 2
// CHECK-SAME:  groups = 2
builtin.module {
  func.func @main(%x: tensor<16x128xf32>) -> tensor<16x128xf32> {
    %0 = plena.rms_norm %x {eps = 1.0e-5 : f64, groups = 4 : i64} : (tensor<16x128xf32>) -> tensor<16x128xf32>
    func.return %0 : tensor<16x128xf32>
  }
}

// -----

// Halves of whole blocks: both results in one pass over the heads, no product.

// CHECK-LABEL: builtin.module
// CHECK-NOT:   tile.broadcast_matmul
// CHECK:       tile.elementwise rows = 16 blocks = 2 out(%{{.*}}[64, 2048]) out(%{{.*}}[64, 2048])
builtin.module {
  func.func @main(%x: tensor<16x256xf32>, %c: tensor<16x128xf32>, %s: tensor<16x128xf32>) -> tensor<16x256xf32> {
    %0 = plena.rotary "half" %x, %c, %s {heads = 2 : i64} : (tensor<16x256xf32>, tensor<16x128xf32>, tensor<16x128xf32>) -> tensor<16x256xf32>
    func.return %0 : tensor<16x256xf32>
  }
}

// -----

// Halves within a row of lanes: the rows of all column blocks are turned together, 256 at a time.

// CHECK-LABEL: builtin.module
// CHECK:       tile.pack out(%[[P:[0-9]+]] : vector) x(%[[X:[0-9]+]] : vector) p(%{{.*}} : matrix) row_blocks = 4 x_row_block = 4096 blocks = 1
// CHECK:       tile.broadcast_matmul out(%[[T:[0-9]+]] : vector) x(%[[P]] : vector)
// CHECK:       tile.elementwise rows = 64 blocks = 4 out(%[[X]][64, 4096]) in(%[[X]][64, 4096]) in(%[[T]][64, 4096]) in(%{{.*}}[64, 0]) in(%{{.*}}[64, 0])
builtin.module {
  func.func @main(%x: tensor<64x256xf32>, %c: tensor<64x64xf32>, %s: tensor<64x64xf32>) -> tensor<64x256xf32> {
    %0 = plena.rotary "half" %x, %c, %s {heads = 4 : i64} : (tensor<64x256xf32>, tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x256xf32>
    func.return %0 : tensor<64x256xf32>
  }
}

// -----

// Queries and keys of one projection lie one behind the other: all rows are turned together.

// CHECK-LABEL: builtin.module
// CHECK:       tile.pack out(%{{[0-9]+}} : vector) x(%[[X:[0-9]+]] : vector) p(%{{.*}} : matrix) row_blocks = 4
// CHECK-NOT:   tile.pack
// CHECK:       tile.elementwise rows = 64 blocks = 4 out(%[[X]][64, 4096]) in(%[[X]][64, 4096])
builtin.module {
  func.func @main(%x: tensor<64x64xf32>, %c: tensor<64x64xf32>, %s: tensor<64x64xf32>) -> (tensor<64x192xf32>, tensor<64x64xf32>) {
    %0 = plena.parameter @q : tensor<192x64xf32>
    %1 = plena.parameter @k : tensor<64x64xf32>
    %2, %3 = plena.projections %x : tensor<64x64xf32> weights(%0, %1 : tensor<192x64xf32>, tensor<64x64xf32>) -> tensor<64x192xf32>, tensor<64x64xf32>
    %4, %5 = plena.rotaries "half"(%2, %3 : tensor<64x192xf32>, tensor<64x64xf32>) tables(%c, %s : tensor<64x64xf32>, tensor<64x64xf32>) {heads = array<i64: 3, 1>} -> tensor<64x192xf32>, tensor<64x64xf32>
    func.return %4, %5 : tensor<64x192xf32>, tensor<64x64xf32>
  }
}

// -----

// Ids are byte offsets of table rows when the program runs.

// CHECK-LABEL: builtin.module
// CHECK:       tile.buffer @ids [5] : !tile.buffer<int> placements
// CHECK-SAME:  scale 6.400000e+01 : f64 limit 300
// CHECK:       tile.gather_rows
// CHECK-SAME:  rows = 5 blocks = 2
builtin.module {
  func.func @main(%t: tensor<300x100xf32>, %ids: tensor<5xi64>) -> tensor<5x100xf32> {
    %0 = plena.embedding %t, %ids : (tensor<300x100xf32>, tensor<5xi64>) -> tensor<5x100xf32>
    func.return %0 : tensor<5x100xf32>
  }
}

// -----

// Sums of rows go to FP SRAM, where the scalar unit takes their roots; there are too few lanes to do it elsewhere.

// CHECK-LABEL: builtin.module
// CHECK:       tile.reduce_rows kind = "sum" scalars(%[[W:[0-9]+]] : fp)
// CHECK:       tile.map_scalars kind = "sqrt" out(%[[R:[0-9]+]] : fp) a(%[[W]] : fp)
// CHECK:       tile.spread_scalars out(%{{.*}} : vector) scalars(%[[R]] : fp)
builtin.module {
  func.func @main(%x: tensor<16x128xf32>) -> tensor<16x128xf32> {
    %0 = plena.reduce "sum" over "features" %x : (tensor<16x128xf32>) -> tensor<16x1xf32>
    %1 = plena.activation "sqrt" %0 : (tensor<16x1xf32>) -> tensor<16x1xf32>
    %2 = plena.mul %x, %1 : (tensor<16x128xf32>, tensor<16x1xf32>) -> tensor<16x128xf32>
    func.return %2 : tensor<16x128xf32>
  }
}
