// RUN: plena-opt %s -p "interleave-iterations{room=2}" | filecheck %s

// Two iterations side by side: the first one has a row of scratch of its own, behind what the program touches.
loop.for %i = 0 to 8 {
  %x = loop.affine 64 + 64 * %i
  %s = loop.affine 0
  plena_isa.v_exp_v dst(%s) a(%x)
  plena_isa.v_reci_v dst(%x) a(%s)
}
// CHECK:      loop.for %i = 0 to 4
// CHECK-DAG:    [[FIRST:%.*]] = loop.affine 64 + 128 * %i
// CHECK-DAG:    [[SECOND:%.*]] = loop.affine 128 + 128 * %i
// CHECK-DAG:    [[OLD:%.*]] = loop.affine 0
// CHECK-DAG:    [[NEW:%.*]] = loop.affine 576
// CHECK:        plena_isa.v_exp_v dst([[NEW]]) a([[FIRST]])
// CHECK-NEXT:   plena_isa.v_exp_v dst([[OLD]]) a([[SECOND]])
// CHECK-NEXT:   plena_isa.v_reci_v dst([[FIRST]]) a([[NEW]])
// CHECK-NEXT:   plena_isa.v_reci_v dst([[SECOND]]) a([[OLD]])
