// RUN: plena-opt %s --pass-pipeline interchange-loops | filecheck %s

// A product of BLEN x BLEN blocks: every block ends with its write-out, blocks are independent.
%z = plena_isa.register : !plena_isa.gp<gp0>
loop.for %c = 0 to 16 {
  loop.for %r = 0 to 8 {
    loop.for %k = 0 to 4 {
      %m = loop.affine 0 + 256 * %c + 4096 * %k
      %v = loop.affine 0 + 256 * %r + 4096 * %k
      plena_isa.m_mm mat(%m) vec(%v)
    }
    %o = loop.affine 65536 + 256 * %r + 4 * %c
    plena_isa.m_mm_wo dst(%o) stride(%z : !plena_isa.gp<gp0>)
  }
}
// CHECK:      loop.for %r = 0 to 8 {
// CHECK-NEXT:   loop.for %c = 0 to 16 {
// CHECK-NEXT:     loop.for %k = 0 to 4 {
