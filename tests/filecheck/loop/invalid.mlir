// RUN: plena-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: trip count must be at least 1, got 0
loop.for %i = 0 to 0 {
}

// -----

// CHECK: a loop.for counts from 0
loop.for %i = 1 to 4 {
}

// -----

// CHECK: the body takes exactly one argument, the index
"loop.for"() <{trip_count = 4 : i64}> ({
  "loop.yield"() : () -> ()
}) : () -> ()
