// Restores images, each by a process of its own:
//
//     nextflow run main.nf --images 'IMAGES/*.tif' --restored RESTORED
//
// --options '--defect noise' goes to microscopygan restore.

params.images = 'images/*.tif'
params.restored = 'restored'
params.options = ''

process RESTORE {
    tag "${image.name}"
    cpus 4
    memory '8 GB'
    publishDir params.restored, mode: 'copy'

    input:
    path image, stageAs: 'given/*'

    output:
    path "${image.name}"

    script:
    def budget = task.memory.toMega().intdiv(2)
    """
    microscopygan restore "${image}" -o "${image.name}" --threads ${task.cpus} \\
        --memory ${budget}MB --quiet ${params.options}
    """
}

workflow {
    RESTORE(Channel.fromPath(params.images))
}
