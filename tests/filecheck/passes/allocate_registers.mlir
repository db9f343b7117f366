// RUN: plena-opt %s --pass-pipeline "allocate-registers{gp=3 f=1}" --split-input-file | filecheck %s

// Constants are rebuilt where they are used, loop counters keep their registers.

// CHECK-NOT:  s_st_int
// CHECK:      loop.for %i = 0 to 2 counter(%[[C:.*]] : !plena_isa.gp<gp{{[1-3]}}>) {
// CHECK:        plena_isa.s_addi_int dst(%{{.*}}) a(%{{.*}} : !plena_isa.gp<gp0>) imm =
// CHECK:        plena_isa.v_add_vv
// CHECK:      }
builtin.module {
  %z = plena_isa.register : !plena_isa.gp<gp0>
  %a = plena_isa.register : !plena_isa.gp
  %b = plena_isa.register : !plena_isa.gp
  %c = plena_isa.register : !plena_isa.gp
  %n = plena_isa.register : !plena_isa.gp
  plena_isa.s_addi_int dst(%a : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>) imm = 64
  plena_isa.s_addi_int dst(%b : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>) imm = 128
  plena_isa.s_addi_int dst(%c : !plena_isa.gp) a(%z : !plena_isa.gp<gp0>) imm = 192
  loop.for %i = 0 to 2 counter(%n : !plena_isa.gp) {
    plena_isa.v_add_vv dst(%a : !plena_isa.gp) a(%a : !plena_isa.gp) b(%b : !plena_isa.gp)
    plena_isa.v_add_vv dst(%c : !plena_isa.gp) a(%c : !plena_isa.gp) b(%b : !plena_isa.gp)
  }
}

// -----

// Floating point registers that change go to the top of FP SRAM.

// CHECK:      plena.fp_spill_words = {{[12]}} : i64
// CHECK:      plena_isa.v_red_sum acc(%{{.*}} : !plena_isa.f<f1>)
// CHECK:      plena_isa.s_st_fp src(%{{.*}} : !plena_isa.f<f1>) base(%{{.*}} : !plena_isa.gp<gp0>) imm = 102{{[23]}}
builtin.module {
  %z = plena_isa.register : !plena_isa.gp<gp0>
  %s = plena_isa.register : !plena_isa.f
  %t = plena_isa.register : !plena_isa.f
  plena_isa.v_red_sum acc(%s : !plena_isa.f) a(%z : !plena_isa.gp<gp0>)
  plena_isa.v_red_sum acc(%t : !plena_isa.f) a(%z : !plena_isa.gp<gp0>)
  plena_isa.s_st_fp src(%s : !plena_isa.f) base(%z : !plena_isa.gp<gp0>) imm = 3
  plena_isa.s_st_fp src(%t : !plena_isa.f) base(%z : !plena_isa.gp<gp0>) imm = 4
}
