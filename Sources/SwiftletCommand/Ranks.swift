import Collectives
import Essentials
import Tensors
import Terminal

/// The processes that share a run, as `mpirun` or another launcher started them; usually this one alone.
struct Ranks {
  let collective: any Collective
  /// What to know about the processors that the ranks compute on.
  private(set) var note: String?

  /// Joins the other ranks, and divides the processors of each host among those on it.
  /// - Throws: `SwiftletError` if MPI cannot be used.
  static func join() throws -> Ranks {
    let collective: any Collective
    do {
      collective = try LaunchEnvironment.collective()
    } catch {
      // The launcher ends the other ranks, so that the first one alone prints the error.
      if let rank = LaunchEnvironment()?.rank, rank > 0 { sleep(3) }
      throw error
    }
    var ranks = Ranks(collective: collective)
    if ranks.collective.size > 1 { try ranks.divideProcessors() }
    return ranks
  }

  /// This process alone.
  static var alone: Ranks { Ranks(collective: SingleProcess()) }

  private init(collective: any Collective) { self.collective = collective }

  /// Whether this rank reports, asks, downloads and writes.
  var leads: Bool { collective.rank == 0 }

  /// As in "4 on 2 hosts"; `nil` for a single process.
  func text() throws -> String? {
    guard collective.size > 1 else { return nil }
    let hosts = Set(try collective.gather(Self.bytes(collective.host))).count
    return hosts == 1 ? "\(collective.size) on one host" : "\(collective.size) on \(hosts) hosts"
  }

  /// Runs `body` on rank 0 first, then on one rank of each other host, then on the rest: what one downloads, those that
  /// share its cache find there.
  func inTurn<Value>(_ body: () async throws -> Value) async throws -> Value {
    let turn = leads ? 0 : collective.hostRank == 0 ? 1 : 2
    for _ in 0..<turn { try collective.barrier() }
    let value = try await body()
    for _ in turn..<2 { try collective.barrier() }
    return value
  }

  /// Ends the run in order. All ranks must call it.
  func leave() { (collective as? MPICollective)?.finalize() }

  /// Ends all ranks with an exit status after a failure on this one, which `report` describes. If several fail alike,
  /// one of them reports: rank 0 if it is among them.
  func end(status: Int32, report: () -> Void) -> Never {
    let delay = min(Double(collective.rank) * 0.25, 3) + (leads ? 0 : 1)
    usleep(UInt32(delay * 1e6))
    report()
    collective.abort(status: status)
    exit(status)
  }

  // MARK: Processors

  private mutating func divideProcessors() throws {
    let own = ThreadCount.processorNumbers
    let most = try -collective.minimum(-own.count)
    let padded = own + [Int32](repeating: -1, count: most - own.count)
    let all = try collective.gather(Self.bytes(collective.host) + padded.flatMap { Self.bytes(Int($0)) })
    let here = all.indices.filter { all[$0].prefix(8).elementsEqual(Self.bytes(collective.host)) }
    let masks = here.map { Self.numbers(all[$0].dropFirst(8)).filter { $0 >= 0 }.map(Int32.init) }
    CPUBackend.useThreadsByDefault(
      ThreadCount.share(of: here.firstIndex(of: collective.rank) ?? 0, among: masks, quota: ThreadCount.quota))
    let (used, online) = (Set(masks.joined()).count, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    if here.count > used {
      note =
        "\(here.count) ranks share \(used) processor\(used == 1 ? "" : "s") of this host, so they wait for each other."
    } else if used * 2 <= online {
      note =
        "the launcher binds the ranks on this host to \(used) of its \(online) processors. With Open MPI, "
        + "mpirun --bind-to none lets them use all."
    }
  }

  private static func bytes(_ number: Int) -> [UInt8] {
    withUnsafeBytes(of: Int64(number).littleEndian, Array.init)
  }

  private static func numbers(_ bytes: ArraySlice<UInt8>) -> [Int] {
    stride(from: bytes.startIndex, to: bytes.endIndex, by: 8).map { start in
      Int(Int64(truncatingIfNeeded: bytes[start..<start + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }))
    }
  }
}
