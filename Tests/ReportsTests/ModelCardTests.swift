import Foundation
import Reports
import Testing
import Training

/// The complete text of a card without a recipe.
@Suite struct ModelCardTests {
  private static var state: TrainerState {
    var state = TrainerState()
    state.globalStep = 20
    state.epoch = 2
    for (step, loss) in [(10, 2.5), (20, 1.25)] {
      state.append(
        TrainingLog(
          step: step, epoch: Double(step) / 10, loss: loss, gradNorm: 1, learningRate: 1e-5, numTokens: 900 * step,
          elapsed: 9.6 * Double(step)))
      state.append(EvaluationLog(step: step, epoch: 2, loss: loss + 0.25, tokens: 10, runtime: 1))
    }
    return state
  }

  @Test func aCardOfAnAdapter() {
    var card = ModelCard(
      title: "yoda", baseModel: "org/base", adapterRank: 8, state: Self.state)
    card.quantizationOptions = ["--load-in-4bit"]
    card.sources = [.init("org/rows", share: 0.5), .init("SELECT 1", isQuery: true)]
    card.recipe = "lora_r: 8\n"
    card.trainRows = 360
    card.validationRows = 40
    card.lossBefore = 3
    card.trainableParameters = 4_884_480
    card.totalParameters = 139_399_488
    card.answers = [.init(question: "Say | it", before: "a\nb", after: "c")]
    #expect(
      card.text == """
        ---
        base_model: "org/base"
        datasets: ["org/rows"]
        library_name: peft
        pipeline_tag: text-generation
        tags: [sft, lora, swiftlet]
        model_name: "yoda"
        ---

        # yoda

        A LoRA adapter of rank 8 for `org/base`, trained with Swiftlet on 4-bit weights.

        ## Results

        | metric | value |
        |---|---:|
        | first logged loss | 2.500 |
        | last logged loss | 1.250 |
        | validation loss before training | 3.000 |
        | last validation loss | 1.500 |
        | validation perplexity | 4.482 |
        | optimizer steps | 20 |
        | epochs | 2.000 |
        | tokens | 18.0K |
        | time | 3m12s |
        | trained parameters | 4.88M of 139M (3.50%) |

        ![Training loss](loss_curve.png)

        ## Before and after

        | question | before | after |
        |---|---|---|
        | Say \\| it | a<br>b | c |

        ## Use

        Run the commands in this folder.

        With Swiftlet:

        ```
        swiftlet chat --model org/base --load-in-4bit --adapter .
        ```

        With PEFT:

        ```python
        from peft import AutoPeftModelForCausalLM
        from transformers import AutoTokenizer

        model = AutoPeftModelForCausalLM.from_pretrained(".")
        tokenizer = AutoTokenizer.from_pretrained(".")
        ```

        With llama.cpp, together with the base model as GGUF:

        ```
        swiftlet export --adapter . --base org/base --output adapter.gguf
        llama-cli -m base.gguf --lora adapter.gguf
        ```

        To merge it into the base model:

        ```
        swiftlet merge --model org/base --adapter . --output merged
        ```

        ## Data

        - `org/rows`, split train, share 0.5
        - `SELECT 1`, split train
        - 360 training rows
        - 40 validation rows

        ## Recipe

        `training_args.json` lists all settings, including defaults.

        ```yaml
        lora_r: 8
        ```

        """)
  }

  /// Nobody else can follow a path on this machine, so the reader is told what to fill in.
  @Test func aCardOfAnUnknownBase() {
    let card = ModelCard(
      title: "yoda", baseModel: "BASE_MODEL", baseName: "model.gguf", adapterRank: 8, state: TrainerState())
    let text = card.text
    for part in [
      "A LoRA adapter of rank 8 for `model.gguf`, trained with Swiftlet.",
      "Replace `BASE_MODEL` with the base model, `model.gguf`:",
      "base = AutoModelForCausalLM.from_pretrained(\"BASE_MODEL\")", "PeftModel.from_pretrained(base, \".\")",
      "swiftlet chat --model BASE_MODEL --adapter .\n",
    ] { #expect(text.contains(part), "\(part)") }
    #expect(!text.contains("base_model:") && !text.contains("AutoPeftModel"))
    let local = ModelCard(title: "yoda", baseModel: "../b.gguf", adapterRank: 8, state: TrainerState()).text
    #expect(local.contains("swiftlet chat --model ../b.gguf --adapter ."))
    #expect(local.contains("from_pretrained(\"BASE_MODEL\")  # the folder or org/name of the original model\n"))
  }

  /// The card of a classifier says how to score texts, not how to chat.
  @Test func aCardOfAClassifier() {
    var card = ModelCard(title: "c", baseModel: "org/base", adapterRank: 4, state: TrainerState())
    card.labels = ["good", "bad"]
    card.method = "classify"
    for part in [
      "pipeline_tag: text-classification\ntags: [classify, lora, swiftlet]\n",
      "swiftlet score --model org/base --adapter . --text", "from peft import PeftModel\nfrom transformers import Auto",
      "AutoModelForSequenceClassification.from_pretrained(\"org/base\", num_labels=2)",
    ] { #expect(card.text.contains(part), "\(part)") }
    #expect(!card.text.contains("chat") && !card.text.contains("perplexity"))
  }

  /// A run of every weight that logged nothing has no curve, no table of answers, and other instructions.
  @Test func aCardOfAModel() {
    let card = ModelCard(
      title: "a\nb", baseModel: "./base", state: TrainerState())
    let text = card.text
    for part in [
      "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [sft, swiftlet]\nmodel_name: \"a b\"\n---\n",
      "\n# a b\n\nA full fine-tune of `base`, trained with Swiftlet.\n", "| optimizer steps | 0 |",
      "swiftlet chat --model .\n", "AutoModelForCausalLM.from_pretrained(\".\")",
      "swiftlet export --model . --output model.gguf --type q8_0",
    ] { #expect(text.contains(part), "\(part)") }
    for part in ["base_model", "loss_curve", "Before and after", "## Data", "## Recipe", "PEFT", "perplexity"] {
      #expect(!text.contains(part), "\(part)")
    }
  }
}
