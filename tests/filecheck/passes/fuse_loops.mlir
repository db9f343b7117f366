// RUN: plena-opt %s --pass-pipeline fuse-loops | filecheck %s

// Row i of the second loop is finished: one loop.
loop.for %i = 0 to 8 {
  %x = loop.affine 0 + 64 * %i
  plena_isa.v_exp_v dst(%x) a(%x)
}
loop.for %j = 0 to 8 {
  %y = loop.affine 0 + 64 * %j
  plena_isa.v_reci_v dst(%y) a(%y)
}
// This one reads row j + 1 of what went before: it waits.
loop.for %k = 0 to 8 {
  %a = loop.affine 64 + 64 * %k
  %b = loop.affine 8192 + 64 * %k
  plena_isa.v_exp_v dst(%b) a(%a)
}
// Another trip count.
loop.for %l = 0 to 4 {
  %c = loop.affine 16384 + 64 * %l
  plena_isa.v_exp_v dst(%c) a(%c)
}

// CHECK:         loop.for %i = 0 to 8 {
// CHECK:           plena_isa.v_exp_v
// CHECK-NEXT:      plena_isa.v_reci_v
// CHECK-NEXT:    }
// CHECK-NEXT:    loop.for %k = 0 to 8 {
// CHECK:         loop.for %l = 0 to 4 {
