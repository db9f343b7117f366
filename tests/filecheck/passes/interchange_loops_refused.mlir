// RUN: not plena-opt %s --pass-pipeline interchange-loops 2>&1 | filecheck %s

// Without the write-out the order of the sum would change.
loop.for %c = 0 to 16 {
  loop.for %r = 0 to 8 {
    %m = loop.affine 0 + 256 * %c
    %v = loop.affine 0 + 256 * %r
    plena_isa.m_mm mat(%m) vec(%v)
  }
}
// CHECK: loop 0: interchange would change the result
