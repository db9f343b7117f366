// RUN: PLENA_ROUNDTRIP

// Counted loops, their counters and linear index arithmetic.

builtin.module {
  %c = plena_isa.register : !plena_isa.gp<gp3>
  loop.for %i = 0 to 4 {
    %a = loop.affine 8192
    loop.for %j = 0 to 7 counter(%c : !plena_isa.gp<gp3>) {
      %b = loop.affine -3 + 256 * %i + -4 * %j
      %d = loop.affine 0 + 1 * %b + 2 * %a
    } attributes {plena.step = "scores"}
  }
  loop.for %k = 0 to 1 {
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %c = plena_isa.register : !plena_isa.gp<gp3>
// CHECK-NEXT:   loop.for %i = 0 to 4 {
// CHECK-NEXT:     %a = loop.affine 8192
// CHECK-NEXT:     loop.for %j = 0 to 7 counter(%c : !plena_isa.gp<gp3>) {
// CHECK-NEXT:       %b = loop.affine -3 + 256 * %i + -4 * %j
// CHECK-NEXT:       %d = loop.affine 0 + 1 * %b + 2 * %a
// CHECK-NEXT:     } attributes {plena.step = "scores"}
// CHECK-NEXT:   }
// CHECK-NEXT:   loop.for %k = 0 to 1 {
// CHECK-NEXT:   }
// CHECK-NEXT: }
