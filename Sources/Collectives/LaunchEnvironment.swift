import Diagnostics
import Essentials

/// How this process was started, read from the variables that MPI's launchers set.
public struct LaunchEnvironment: Sendable, Hashable {
  /// The program that started the ranks, as error messages name it.
  public let launcher: String
  /// The number of ranks that the launcher started.
  public let size: Int

  /// `nil` unless `mpirun`, `mpiexec`, `srun` or `flux` started more than one rank.
  public init?(_ environment: [String: String] = ProcessInfo.processInfo.environment) {
    // `srun` comes last, because it sets its variables for every job step, even if `mpirun` starts the ranks inside it.
    let launchers = [
      ("OMPI_COMM_WORLD_SIZE", "mpirun"), ("FLUX_JOB_SIZE", "flux"), ("PMI_SIZE", "mpiexec"),
      ("MPI_LOCALNRANKS", "mpiexec"), ("SLURM_STEP_NUM_TASKS", "srun"),
    ]
    for (variable, launcher) in launchers {
      if let size = environment[variable].flatMap({ Int($0) }), size > 1 {
        self.launcher = launcher
        self.size = size
        return
      }
    }
    return nil
  }

  /// The ranks that this process belongs to: those of MPI if a launcher started several, else this process alone.
  /// - Throws: `SwiftletError` if a launcher started it and MPI cannot be used.
  public static func collective(
    _ environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(SwiftletError) -> any Collective {
    LaunchEnvironment(environment) == nil ? SingleProcess() : try MPICollective(environment: environment)
  }
}
