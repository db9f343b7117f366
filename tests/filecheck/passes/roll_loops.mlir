// RUN: plena-opt %s --pass-pipeline "unroll-loops{full=true},roll-loops" | filecheck %s
// RUN: plena-opt %s --pass-pipeline "unroll-loops{loop=2 full=true},roll-loops,canonicalize-loops" | filecheck %s

// What is expanded and rolled again is what it was, with a prologue and an epilogue.
%z = plena_isa.register : !plena_isa.gp<gp0>
%p = loop.affine 64
plena_isa.v_reci_v dst(%p) a(%p)
loop.for %c = 0 to 16 {
  loop.for %r = 0 to 6 {
    loop.for %k = 0 to 4 {
      %m = loop.affine 0 + 256 * %c + 4096 * %k
      %v = loop.affine 0 + 256 * %r + 4096 * %k
      plena_isa.m_mm mat(%m) vec(%v)
    }
    %o = loop.affine 65536 + 256 * %r + 4 * %c
    plena_isa.m_mm_wo dst(%o) stride(%z : !plena_isa.gp<gp0>)
  }
}
plena_isa.c_break

// CHECK:         plena_isa.v_reci_v
// CHECK-NEXT:    loop.for %[[C:.*]] = 0 to 16 {
// CHECK-NEXT:      loop.for %[[R:.*]] = 0 to 6 {
// CHECK-NEXT:        loop.for %[[K:.*]] = 0 to 4 {
// CHECK-NEXT:          %[[M:.*]] = loop.affine 0
// CHECK-NEXT:          %[[V:.*]] = loop.affine 0
// CHECK-NEXT:          plena_isa.m_mm mat(%[[M]]) vec(%[[V]])
// CHECK-NEXT:        }
// CHECK-NEXT:        %[[O:.*]] = loop.affine 65536
// CHECK-NEXT:        plena_isa.m_mm_wo
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    plena_isa.c_break
