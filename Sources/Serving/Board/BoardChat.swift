import Diagnostics
import Essentials
import Models
import OrderedJSON
import Recipes
import Swiftlet
import Tensors

/// Answers with the models of runs, which are opened when they are first asked.
package actor BoardChat {
  private let engine: GenerationEngine
  private let backend: @Sendable () throws -> any Backend

  /// - Parameter backend: opens what computes, when it is first needed.
  package init(engine: GenerationEngine = GenerationEngine(), backend: @escaping @Sendable () throws -> any Backend) {
    self.engine = engine
    self.backend = backend
  }

  /// Answers as `/v1/chat/completions` does.
  /// - Parameter json: its request, and "adapter": false for the base model.
  func respond(to json: JSONValue, about run: RunFolder) async throws -> HTTPResponse {
    let usesAdapter = try RequestReader(json: json).bool("adapter") ?? true
    let id = try await open(run, usesAdapter: usesAdapter)
    var body = json.object ?? JSONObject()
    body["adapter"] = nil
    body["model"] = .string(id)
    return try await ChatCompletions(engine: engine).respond(to: .object(body))
  }

  private func open(_ run: RunFolder, usesAdapter: Bool) async throws -> String {
    guard run.hasResult || !usesAdapter else { throw APIError.conflict("The run has no result yet.") }
    let isAdapter = run.isAdapter
    let needsBase = isAdapter || !usesAdapter
    let base = run.baseModel
    guard !needsBase || base != nil else { throw APIError.conflict("Nothing tells the base model of this run.") }
    let model = needsBase ? base ?? "" : run.url.path
    // Another version of the result is another model.
    let id = usesAdapter ? "\(run.id) @ \(run.version)" : "base of \(run.id)"
    if await engine.ids.contains(id) { return id }
    let recipe = run.facts?["recipe"]?.string.flatMap { try? Recipe(yaml: $0) }
    let source = ModelSource(
      id: id, url: try await ModelLocation.find(model), adapter: isAdapter && usesAdapter ? run.url : nil,
      quantization: needsBase ? recipe?.model.quantization : nil)
    // Two models are enough to compare, and memory is scarce next to a run.
    try await engine.add(source, on: backend(), keeping: 2)
    return id
  }
}
