; RUN: plena-opt %s -p lift | filecheck %s
; RUN: plena-opt %s -p 'lift{preloaded="int:8-16=0..31"},set-state,materialize-addresses,allocate-registers,verify-program' -t plena-asm | filecheck %s --check-prefix=AGAIN

; Constants in pieces, a pointer reset by wrapping around 2^32, sticky state, a spill and a filler.
S_LUI_INT gp1, 1
S_ADDI_INT gp1, gp1, 4096
C_SET_SCALE_REG gp1
S_LUI_INT gp9, 1048575
S_ADDI_INT gp9, gp9, 3840
S_ADDI_INT gp2, gp0, 65536
S_ST_INT gp2, gp0, 3
C_LOOP_START gp3, 8
C_LOOP_START gp4, 4
S_LD_INT gp5, gp0, 3
H_PREFETCH_V gp5, gp2, a0, 0, 0
S_ADDI_INT gp5, gp5, 256
S_ST_INT gp5, gp0, 3
S_ADDI_INT gp2, gp2, 64
C_LOOP_END gp4
S_ADDI_INT gp0, gp0, 0
S_ADD_INT gp2, gp2, gp9
V_RED_MAX f1, gp2, 0
C_LOOP_END gp3

; CHECK:      builtin.module {
; CHECK:        %[[FZERO:.*]] = plena_isa.register : !plena_isa.f<f0>
; CHECK-NEXT:   %[[F:.*]] = plena_isa.register : !plena_isa.f
; CHECK-NEXT:   plena_isa.s_add_fp dst(%[[F]] : !plena_isa.f) a(%[[FZERO]] : !plena_isa.f<f0>) b(%[[FZERO]] : !plena_isa.f<f0>)
; CHECK:        plena_isa.s_st_int
; CHECK-NEXT:   loop.for %[[I:.*]] = 0 to 8 {
; CHECK-NEXT:     loop.for %[[J:.*]] = 0 to 4 {
; CHECK-NEXT:       %[[DST:.*]] = loop.affine 65536 + 1024 * %[[I]] + 256 * %[[J]]
; CHECK-NEXT:       %[[OFF:.*]] = loop.affine 65536 + 64 * %[[J]]
; CHECK:            %[[SCALE:.*]] = loop.affine 8192
; CHECK-NEXT:       plena_isa.h_prefetch_v dst(%[[DST]]) off(%[[OFF]]) base(%{{.*}}) scale(%[[SCALE]])
; CHECK-NEXT:       %[[NEXT:.*]] = loop.affine 65792 + 1024 * %[[I]] + 256 * %[[J]]
; CHECK:            plena_isa.s_st_int src(%[[NEXT]])
; CHECK-NEXT:     }
; CHECK:          plena_isa.v_red_max acc(%[[F]] : !plena_isa.f)
; CHECK-NEXT:   }
; CHECK-NEXT: }

; AGAIN-NOT: S_LD_INT
; AGAIN:     H_PREFETCH_V
; AGAIN-NOT: S_LD_INT
; AGAIN:     V_RED_MAX f1
