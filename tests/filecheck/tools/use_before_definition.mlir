// RUN: plena-opt %s --split-input-file --verify-diagnostics | filecheck %s
// RUN: plena-opt %s --split-input-file --disable-verify --allow-unregistered-dialect | filecheck %s --check-prefix=UNCHECKED

// xDSL verifies all of these.

// CHECK: test.op: the operand %x is used before its definition
// UNCHECKED: func.func @backwards
func.func @backwards() {
  %y = "test.op"(%x) : (i32) -> i32
  %x = "test.op"() : () -> i32
  func.return
}

// -----

// CHECK: test.op: the operand %x is used before its definition
func.func @itself() {
  %x = "test.op"(%x) : (i32) -> i32
  func.return
}

// -----

// CHECK: test.op: the operand %x is used before its definition
func.func @one_branch(%c : i1) {
  cf.cond_br %c, ^a, ^b
^a:
  %x = "test.op"() : () -> i32
  cf.br ^b
^b:
  "test.op"(%x) : (i32) -> ()
  func.return
}

// -----

// CHECK: test.op: the operand %x is used before its definition
"test.op"() ({
  "test.op"(%x) : (i32) -> ()
  "test.termop"() : () -> ()
}) : () -> ()
%x = "test.op"() : () -> i32

// -----

// CHECK-LABEL: func.func @right
func.func @right(%c : i1) {
  %x = "test.op"() : () -> i32
  "test.op"() ({
    "test.op"(%x) : (i32) -> ()
    "test.termop"() : () -> ()
  }) : () -> ()
  cf.cond_br %c, ^a, ^b
^a:
  cf.br ^b
^b:
  "test.op"(%x) : (i32) -> ()
  cf.br ^c
^c:
  func.return
^dead:
  %y = "test.op"(%x, %y) : (i32, i32) -> i32
  func.return
}
