// RUN: not plena-opt %s -p canonicalize-loops 2>&1 | filecheck %s

// CHECK: error: {{.*}}func.func is not an instruction or a loop. Lower the module to plena_isa first
builtin.module {
  func.func @main() {
    loop.for %i = 0 to 4 {
      %a = loop.affine 0 + 64 * %i
      plena_isa.v_exp_v dst(%a) a(%a)
    }
    func.return
  }
}
