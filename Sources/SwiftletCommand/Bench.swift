import ArgumentParser
import Swiftlet
import Essentials
import Models
import OrderedJSON
import Tensors
import Terminal

/// `swiftlet bench`
struct Bench: AsyncParsableCommand {
  enum Part: String, CaseIterable, ExpressibleByArgument {
    case machine, products, generation, training
  }

  static let configuration = CommandConfiguration(
    abstract: "Measure this machine and the throughput of generation and training.",
    usage: "swiftlet bench [--model <model>] [<options>]")

  @Option(
    name: [.short, .long],
    help: "Also measure generation and training with this model: a folder, a GGUF file, or org/name.")
  var model: String?

  @OptionGroup var quantization: QuantizationOptions
  @OptionGroup var device: DeviceOptions

  @Option(help: ArgumentHelp("Tokens to generate.", valueName: "n"))
  var decode = 64

  @Option(help: ArgumentHelp("Rows per training step.", valueName: "n"))
  var rows = 4

  @Option(help: ArgumentHelp("Tokens per row.", valueName: "n"))
  var rowTokens = 250

  @Option(help: ArgumentHelp("Measure only this part. Can be repeated.", valueName: "part"))
  var only: [Part] = []

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard model != nil || !only.contains(where: { $0 == .generation || $0 == .training }) else {
      throw ValidationError("measuring generation or training needs --model")
    }
    guard decode > 0, rows > 0, rowTokens > 1 else {
      throw ValidationError("--decode and --rows must be positive, --row-tokens at least 2")
    }
  }

  func run() async throws {
    // Load the model first, to find out early if it cannot be loaded.
    let backend = try device.backend()
    var opened: CausalLM?
    if let model {
      let url = try await DownloadProgress.show { try await ModelLocation.find(model, progress: $0) }
      opened = try quantization.load(ModelFiles(opening: url), on: backend)
    }
    let parts = only.isEmpty ? Part.allCases : only
    var figures = JSONObject()
    var products: [ProductBenchmark.Result] = []
    if parts.contains(.machine) {
      figures["fma_gflops"] = .number(MachineBenchmark.fmaGFLOPS(on: CPUBackend.shared))
      figures["read_gb_s"] = .number(MachineBenchmark.readGBPerSecond(on: CPUBackend.shared))
    }
    if parts.contains(.products) {
      // A software device would take minutes for large products.
      let isSoftware = (backend as? VulkanBackend)?.information.isSoftware == true
      products = isSoftware ? ProductBenchmark.run(on: backend, largest: 1 << 27) : ProductBenchmark.run(on: backend)
      figures["product_gflops"] = .object(JSONObject(products.map { ($0.name, .number($0.gflops)) }))
    }
    if let opened {
      var benchmark = ModelBenchmark(opened)
      if parts.contains(.generation) {
        let speed = benchmark.generation(count: decode)
        figures["prompt_tokens_per_s"] = .number(speed.prompt)
        figures["decode_tokens_per_s"] = .number(speed.decode)
      }
      if parts.contains(.training) {
        figures["train_tokens_per_s"] = .number(try benchmark.training(rows: rows, rowTokens: rowTokens))
        if let gpu = backend as? VulkanBackend {
          let times = try gpu.profiled { _ = try benchmark.training(rows: rows, rowTokens: rowTokens) }
          figures["kernel_seconds"] = .object(JSONObject(times.map { ($0.kernel, .number($0.seconds)) }))
        }
      }
      figures["peak_bytes"] = .integer(SystemMemory.peakResident)
      if backend is VulkanBackend { figures["device_peak_bytes"] = .integer(backend.memoryStatistics.peak) }
    }
    if json {
      Printing.json(.object(figures))
    } else {
      for member in figures.members where member.value.object == nil { show(member.key, member.value) }
      for kernel in figures["kernel_seconds"]?.object?.members ?? [] { show("kernel \(kernel.key)", kernel.value) }
      for product in products { show("product \(product.name)", .number(product.gflops)) }
    }
  }

  private func show(_ name: String, _ value: JSONValue) {
    let text =
      value.integer.map(String.init) ?? value.double.map { String(cFormat: $0 < 1 ? "%.4f" : "%.1f", $0) } ?? ""
    Printing.result(name + String(repeating: " ", count: max(1, 40 - name.count)) + text)
  }
}
