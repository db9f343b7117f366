// RUN: plena-opt %s --pass-pipeline "select-loops{objective=cycles max-instructions=40}" | filecheck %s
// RUN: plena-opt %s --pass-pipeline "select-loops{objective=size}" | filecheck %s --check-prefix SIZE
// RUN: not plena-opt %s --pass-pipeline "select-loops{max-instructions=5}" 2>&1 | filecheck %s --check-prefix ERROR

%z = plena_isa.register : !plena_isa.gp<gp0>
loop.for %c = 0 to 16 {
  loop.for %r = 0 to 16 {
    %m = loop.affine 0 + 256 * %c
    %v = loop.affine 0 + 256 * %r
    plena_isa.m_mm mat(%m) vec(%v)
    %o = loop.affine 65536 + 256 * %r + 4 * %c
    plena_isa.m_mm_wo dst(%o) stride(%z : !plena_isa.gp<gp0>)
  }
}

// CHECK:         loop.for
// CHECK-COUNT-4: plena_isa.m_mm mat
// CHECK:         plena_isa.m_mm mat

// SIZE:          loop.for %c = 0 to 16 {
// SIZE-NEXT:       loop.for %r = 0 to 16 {

// ERROR: select-loops: no program of at most 5 instructions is reachable. The smallest has 14.
