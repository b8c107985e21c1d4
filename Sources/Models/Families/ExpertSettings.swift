import Diagnostics

extension ConfigurationReader {
  /// Throws if these experts contradict each other, or if the file asks for a loss of the router.
  /// - Parameter countKey: the key of the number of experts.
  func check(_ experts: TransformerConfiguration.Experts, countKey: String) throws(SwiftletError) {
    guard experts.chosen <= experts.count else {
      throw error("num_experts_per_tok must be at most \(countKey) (\(experts.count))")
    }
    if try optionalBool("output_router_logits") == true {
      throw error("output_router_logits, which adds a loss of the router, is not supported; set it to false")
    }
  }
}
