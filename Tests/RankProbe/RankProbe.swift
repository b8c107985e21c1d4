import Collectives
import Diagnostics
import Foundation
import Tensors

/// One rank of a small MPI run that checks every collective operation against the values each rank must find, and exits
/// with status 1 and one line per mismatch.
@main struct RankProbe {
  static func main() throws {
    let words = Array(CommandLine.arguments.dropFirst())
    if let word = words.first, ["train", "reference"].contains(word) {
      let collective = try LaunchEnvironment.collective()
      let run = word == "train" ? TrainingProbe.run : TrainingProbe.runReference
      try run(Array(words.dropFirst()), collective)
      (collective as? MPICollective)?.finalize()
      exit(0)
    }
    let collective = try MPICollective()
    var failures: [String] = []
    func expect(_ condition: Bool, _ what: String) {
      if !condition { failures.append("rank \(collective.rank) of \(collective.size): \(what)") }
    }
    // Values whose sum depends on the order of additions in float32.
    func value(_ rank: Int, _ index: Int) -> Float {
      Float((index &* 2_654_435_761 &+ rank &* 40_503) % 1_000_003) / (rank % 2 == 0 ? 1e3 : 1e-3)
    }
    let backend = CPUBackend.shared
    for count in [1, collective.size - 1, 1000, 1_200_001] {
      let buffer = backend.tensor((0..<count).map { value(collective.rank, $0) }, [count])
      try collective.sum(buffer)
      let sums = backend.floats(buffer)
      let isExact = sums.indices.allSatisfy { index in
        sums[index] == (1..<collective.size).reduce(value(0, index)) { $0 + value($1, index) }
      }
      expect(isExact, "the sum of \(count) floats is not the one in rank order")
    }
    let greeting = Array("rank \(collective.rank)".utf8)
    expect(try collective.broadcast(greeting, from: 1 % collective.size) == Array("rank 1".utf8), "broadcast")
    let gathered = try collective.gather([UInt8(collective.rank), 7])
    expect(gathered == (0..<collective.size).map { [UInt8($0), 7] }, "gather")
    expect(try collective.sum([Double(collective.rank), 0.5])[1] == 0.5 * Double(collective.size), "sum of numbers")
    expect(collective.hostSize == collective.size, "all ranks are on this host")
    let last = collective.size - 1
    let tensor = backend.tensor([Float(collective.rank), 2], [2])
    try collective.copy(tensor, from: last, to: 0)
    let copied = Float(collective.rank == 0 ? last : collective.rank)
    expect(backend.floats(tensor) == [copied, 2], "copy")
    let shared = backend.tensor([Float(collective.rank), 3], [2])
    try collective.broadcast(shared, from: last)
    expect(backend.floats(shared) == [Float(last), 3], "broadcast of a tensor")
    expect(try collective.minimum(collective.size - collective.rank) == 1, "least")
    expect(try collective.minimum(-collective.rank) == -last, "least of negative numbers")
    expect(try collective.firstDifference("same") == nil, "equal texts")
    expect(try collective.firstDifference(collective.rank == last ? "other" : "same") == last, "another text")
    expect(collective.host == 0, "the lowest rank identifies the host")
    try collective.barrier()
    for failure in failures { FileHandle.standardError.write(Data((failure + "\n").utf8)) }
    if CommandLine.arguments.contains("--die"), collective.rank == 1 { kill(getpid(), SIGKILL) }
    if CommandLine.arguments.contains("--die") { try collective.barrier() }
    collective.finalize()
    exit(failures.isEmpty ? 0 : 1)
  }
}
