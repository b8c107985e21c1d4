import Recipes
import Reports
import TestSupport
import Training
import Testing

/// Typical fine-tuning scripts in Python, written as recipes.
@Suite struct JourneyTests {
  @Test func translationBetweenTwoChineseLanguages() throws {
    let recipe = try Recipe(
      yaml: """
        model_name_or_path: unsloth/Qwen3-0.6B-unsloth-bnb-4bit
        use_peft: true
        lora_r: 32
        lora_alpha: 64
        lora_dropout: 0
        lora_target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
        datasets:
          - path: org/flat
            steps:
              - messages:
                  - {role: system, content: 你係一個翻譯。}
                  - {role: user, content: "{zh}"}
                  - {role: assistant, content: "{yue}"}
          - path: org/nested
            steps:
              - messages:
                  - {role: system, content: 你係一個翻譯。}
                  - {role: user, content: "{translation.zh}"}
                  - {role: assistant, content: "{translation.yue}"}
        steps: [{apply_chat_template: text}, {shuffle: 3407}]
        per_device_train_batch_size: 2
        gradient_accumulation_steps: 4
        warmup_steps: 5
        max_steps: 30
        learning_rate: 2e-4
        lr_scheduler_type: linear
        optim: adamw_8bit
        weight_decay: 0.01
        seed: 3407
        report_to: none
        """)
    #expect(recipe.notes == [])
    #expect(recipe.training.optimizer.kind.isEightBit)
    #expect(recipe.training.maxSteps == 30)
    #expect(recipe.data.sources.map(\.steps.count) == [1, 1])
    #expect(recipe.data.steps == [.applyChatTemplate(column: "text"), .shuffle(seed: 3407)])
    #expect(recipe.lora?.dropout == 0)
  }

  @Test func reasoningInOneText() throws {
    let recipe = try Recipe(
      yaml: """
        model_name_or_path: deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B
        torch_dtype: float16
        dataset_name: FreedomIntelligence/medical-o1-reasoning-SFT
        dataset_config: en
        steps:
          - select: 1500
          - template: |
              ### Question:
              {Question}

              <think>
              {Complex_CoT}
              </think>
              {Response}
        use_peft: true
        r: 16
        target_modules: [q_proj, v_proj]
        max_length: 512
        num_train_epochs: 3
        fp16: true
        """)
    #expect(recipe.training.savedType == .float16)
    #expect(recipe.lora?.rank == 16)
    guard case .template("text", let text)? = recipe.data.steps.last else {
      Issue.record("no template")
      return
    }
    #expect(text.source.hasSuffix("</think>\n{Response}\n"))
    #expect(recipe.notes.count == 2)
  }

  @Test func quantizedAndPacked() throws {
    let recipe = try Recipe(
      yaml: """
        model_name_or_path: microsoft/Phi-3-mini-4k-instruct
        load_in_4bit: true
        bnb_4bit_quant_type: nf4
        bnb_4bit_use_double_quant: true
        bnb_4bit_compute_dtype: float32
        use_peft: true
        lora_r: 8
        lora_alpha: 16
        lora_target_modules: [qkv_proj, gate_up_proj, down_proj, o_proj]
        dataset_name: dvgodoy/yoda_sentences
        steps: [{rename_columns: {sentence: prompt, translation_extra: completion}}]
        packing: true
        packing_strategy: wrapped
        max_seq_length: 64
        completion_only_loss: true
        per_device_train_batch_size: 16
        auto_find_batch_size: true
        gradient_checkpointing: true
        gradient_checkpointing_kwargs: {use_reentrant: false}
        optim: paged_adamw_8bit
        num_train_epochs: 10
        learning_rate: 3e-4
        lr_scheduler_kwargs: '{"num_cycles": 1}'
        """)
    #expect(recipe.model.quantization?.format.doubleQuantized == true)
    #expect(recipe.training.preparation.packing == .wrapped)
    #expect(recipe.training.preparation.maxLength == 64)
    #expect(recipe.training.findsBatchSize)
    #expect(recipe.training.schedulerOptions.numCycles == 1)
  }

  @Test func everyWeightOfASmallModel() throws {
    let recipe = try Recipe(commandLine: [
      "--model_name_or_path", "Qwen/Qwen3-0.6B-Base", "--dataset_name", "HuggingFaceTB/smoltalk", "--learning_rate",
      "8e-5",
      "--num_train_epochs", "1", "--per_device_train_batch_size=1", "--gradient_accumulation_steps", "8",
      "--logging_steps", "2", "--max_train_samples", "100", "--eos_token", "<|im_end|>", "--bf16",
      "--questions", "[Who are you?, {text: 你好, system: Be brief.}, '1 + 1?']",
    ])
    #expect(recipe.lora == nil)
    #expect(recipe.training.gradientAccumulationSteps == 8)
    #expect(recipe.data.maxTrainSamples == 100)
    #expect(
      recipe.data.questions == .inline([.init("Who are you?"), .init("你好", system: "Be brief."), .init("1 + 1?")]))
    try recipe.checkComplete()
  }
}
