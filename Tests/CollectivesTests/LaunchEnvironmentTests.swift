import Collectives
import Testing

@Suite struct LaunchEnvironmentTests {
  @Test func launchersAreRecognizedByTheirVariables() {
    #expect(LaunchEnvironment(["OMPI_COMM_WORLD_SIZE": "4"])?.launcher == "mpirun")
    #expect(LaunchEnvironment(["PMI_SIZE": "2", "PMI_RANK": "1"])?.size == 2)
    #expect(LaunchEnvironment(["PMI_SIZE": "2", "PMI_RANK": "1"])?.rank == 1)
    #expect(LaunchEnvironment(["SLURM_STEP_NUM_TASKS": "8"])?.launcher == "srun")
    #expect(LaunchEnvironment(["FLUX_JOB_SIZE": "16"])?.launcher == "flux")
  }

  @Test(arguments: [[:], ["OMPI_COMM_WORLD_SIZE": "1"], ["PMI_SIZE": "many"], ["SLURM_NTASKS": "8"]])
  func aSingleProcessIsNotADistributedRun(environment: [String: String]) {
    #expect(LaunchEnvironment(environment) == nil)
  }

  @Test func mpirunInsideAnAllocationIsTheLauncher() {
    let environment = ["SLURM_STEP_NUM_TASKS": "3", "OMPI_COMM_WORLD_SIZE": "2"]
    #expect(LaunchEnvironment(environment)?.size == 2)
    #expect(LaunchEnvironment(environment.merging(["OMPI_COMM_WORLD_SIZE": "1"]) { $1 }) == nil)
  }
}
