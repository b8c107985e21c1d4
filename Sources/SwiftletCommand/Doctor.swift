import ArgumentParser
import CLoader
import CVersion
import Datasets
import Essentials
import Hub
import OrderedJSON
import Swiftlet
import Tensors
import Terminal
import Training

/// `swiftlet doctor`
struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is installed, what this machine can do, and what the caches contain.")

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let diagnosis = try Diagnosis(environment: ProcessInfo.processInfo.environment)
    if json { return Printing.json(diagnosis.json) }
    let output = Output.standardOutput
    for section in diagnosis.sections {
      var table = Table(section.title, "", "")
      for fact in section.facts { table.append([fact.name, fact.value, fact.remark]) }
      output.write(table.text(width: output.columns(), border: .plain, style: output.style) + "\n")
    }
    let missing = diagnosis.sections.flatMap(\.facts).filter { $0.isMissing }
    Printing.result(
      missing.isEmpty
        ? "Nothing is missing."
        : "Missing: \(missing.map(\.name).joined(separator: ", ")). Each is needed only for what is listed beside it.")
  }
}

/// What `doctor` finds.
struct Diagnosis {
  /// Facts on one subject.
  struct Section {
    let title: String
    var facts: [Fact] = []
  }

  struct Fact {
    let name: String
    let value: String
    var remark = ""
    var isMissing = false
  }

  let sections: [Section]

  init(environment: [String: String]) throws {
    sections = [
      Self.machine, try Self.devices(environment), Self.libraries, Self.programs, try Self.caches(environment),
    ]
  }

  private static var machine: Section {
    let memory = SystemMemory.now
    return Section(
      title: "machine",
      facts: [
        Fact(name: "swiftlet", value: String(cString: swiftlet_version())),
        Fact(name: "processor", value: processor, remark: "\(CPUBackend.shared.threadCount) threads"),
        Fact(
          name: "kernels", value: InstructionSet.current.rawValue,
          remark: CPUBackend.shared.multipliesBFloat16
            ? "bf16: true makes training faster" : "bf16: true changes nothing"),
        Fact(name: "memory", value: Format.bytes(memory.total), remark: "\(Format.bytes(memory.available)) available"),
      ])
  }

  /// The processor's name.
  private static var processor: String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":").last.map { $0.trimmed } ?? "unknown"
  }

  private static func devices(_ environment: [String: String]) throws -> Section {
    let devices = GPUDevice.all
    var section = Section(title: "devices")
    for device in devices {
      let remark =
        device.missingFeature.map { "cannot be used: lacks \($0)" } ?? (device.isSoftware ? "software, for tests" : "")
      section.facts.append(
        Fact(name: "gpu:\(device.index)", value: "\(device.name), \(Format.bytes(device.memory))", remark: remark))
    }
    if devices.isEmpty {
      section.facts.append(
        Fact(name: "GPU", value: "none", remark: "needs a Vulkan 1.3 driver (libvulkan1 and the GPU's own)"))
    }
    let choice = try DeviceSelection.automatic.open(
      kernelCache: DeviceSelection.kernelCache(environment: environment), among: devices)
    section.facts.append(Fact(name: "auto", value: choice.text))
    return section
  }

  private static var libraries: Section {
    let libraries: [(String, loader_library, String)] = [
      ("libcurl", loader_curl, "downloads"), ("libcrypto", loader_crypto, "checking downloads"),
      ("Cairo", loader_cairo, "loss curves as pictures"), ("libzip", loader_zip, "merge --zip, verifying zip files"),
    ]
    return Section(
      title: "libraries",
      facts: libraries.map { name, library, purpose in
        let failure = loader_failure(library)
        return Fact(
          name: name, value: failure == nil ? "installed" : "missing", remark: "for " + purpose,
          isMissing: failure != nil)
      })
  }

  private static var programs: Section {
    let uses = ["duckdb": "Parquet files and SQL", "gzip": ".gz files", "zstd": ".zst files"]
    var facts = ExternalProgram.all.map { program in
      Fact(
        name: program.name, value: program.path ?? "missing",
        remark: "for \(uses[program.name] ?? "data files")" + (program.path == nil ? "; \(program.remedy)" : ""),
        isMissing: program.path == nil)
    }
    let mpirun = ExternalProgram.path(of: "mpirun")
    facts.append(
      Fact(
        name: "mpirun", value: mpirun ?? "missing", remark: "for training over several processes",
        isMissing: mpirun == nil))
    return Section(title: "programs", facts: facts)
  }

  // MARK: Caches

  private static func caches(_ environment: [String: String]) throws -> Section {
    let survey = try CacheSurvey(environment: environment)
    var section = Section(title: "caches")
    func share(_ stale: Int) -> String { stale > 0 ? ", \(Format.bytes(stale)) stale" : "" }
    let models = survey.repositories.count { !$0.isDataset }
    section.facts.append(
      Fact(
        name: "models and datasets", value: Format.bytes(survey.byteCount) + share(survey.staleByteCount),
        remark: "\(models) models, \(survey.repositories.count - models) datasets in \(survey.folder)"))
    for repository in survey.repositories.prefix(10) {
      section.facts.append(
        Fact(name: "  " + repository.name, value: Format.bytes(repository.byteCount) + share(repository.staleByteCount))
      )
    }
    if let folder = PreparationCache.standard(environment: environment)?.folder.path {
      section.facts.append(files("prepared rows", folder, staleAfterDays: 30))
    }
    if let folder = DeviceSelection.kernelCache(environment: environment) {
      section.facts.append(files("compiled GPU kernels", folder, staleAfterDays: nil))
    }
    return section
  }

  /// The size of the files in a folder, and of those that have not been used for so long.
  private static func files(_ name: String, _ folder: String, staleAfterDays days: Double?) -> Fact {
    var (total, stale) = (0, 0)
    FileManager.default.forEachPath(in: folder) { path in
      let file = folder + "/" + path
      guard !FileManager.default.isFolder(file), let size = fileSize(atPath: file) else { return }
      total += size
      let attributes = try? FileManager.default.attributesOfItem(atPath: file)
      if let days, let date = attributes?[.modificationDate] as? Date, date.timeIntervalSinceNow < -days * 86_400 {
        stale += size
      }
    }
    return Fact(
      name: name, value: Format.bytes(total) + (stale > 0 ? ", \(Format.bytes(stale)) stale" : ""), remark: folder)
  }

  /// The facts by section and name.
  var json: JSONValue {
    .object(
      JSONObject(
        sections.map { section in
          (
            section.title,
            .object(
              JSONObject(
                section.facts.map { fact in
                  (
                    fact.name.trimmed,
                    [
                      "value": .string(fact.value), "remark": .string(fact.remark), "missing": .bool(fact.isMissing),
                    ]
                  )
                }))
          )
        }))
  }
}
