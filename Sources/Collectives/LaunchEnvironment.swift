import Diagnostics
import Essentials

/// How this process was started, read from the variables that MPI's launchers set.
public struct LaunchEnvironment: Sendable, Hashable {
  /// The program that started the ranks, as error messages name it.
  public let launcher: String
  /// The number of ranks that the launcher started.
  public let size: Int
  /// This process' number among them.
  public let rank: Int

  /// `nil` unless `mpirun`, `mpiexec`, `srun` or `flux` started more than one rank.
  public init?(_ environment: [String: String] = ProcessInfo.processInfo.environment) {
    // `srun` comes last, because it sets its variables for every job step, even if `mpirun` starts the ranks inside it.
    let launchers: [(launcher: String, size: String, rank: String)] = [
      ("mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
      ("flux", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"), ("mpiexec", "PMI_SIZE", "PMI_RANK"),
      ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ]
    func number(_ variable: String) -> Int? { environment[variable].flatMap { Int($0) } }
    guard let found = launchers.first(where: { number($0.size) != nil }), let size = number(found.size), size > 1 else {
      return nil
    }
    launcher = found.launcher
    self.size = size
    rank = number(found.rank) ?? 0
  }

  /// The ranks that this process belongs to: those of MPI if a launcher started several, else this process alone.
  /// - Throws: `SwiftletError` if a launcher started it and MPI cannot be used.
  public static func collective(
    _ environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(SwiftletError) -> any Collective {
    LaunchEnvironment(environment) == nil ? SingleProcess() : try MPICollective(environment: environment)
  }
}
