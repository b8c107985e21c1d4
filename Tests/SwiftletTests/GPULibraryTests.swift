import Foundation
import Swiftlet
import Tensors
import TestSupport
import Testing

/// Recipes on a GPU.
@Suite(.enabled(if: TestGPU.isExpected)) struct GPURecipeRunTests {
  /// Twenty steps, full and LoRA, with packing.
  @Test(arguments: RecipeRunTests.names) func recipeRunsAsWithTRL(_ name: String) throws {
    try RecipeRunTests.checkRun(name, on: #require(TestGPU.backend))
  }
}
