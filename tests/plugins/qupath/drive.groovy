// Runs a QuPath script where there is no QuPath: what it calls is recorded. Not QuPath's code: the
// signatures are those of its published documentation, the rest is only as much as a script needs.
// groovy -cp tests/plugins drive.groovy SCRIPT IMAGE RECORD [x y width height of the selection]
import groovy.json.JsonOutput
import org.codehaus.groovy.control.CompilerConfiguration

abstract class Recorder extends Script {
    static image, selection, added = [], updates = 0

    def getCurrentServer() { [getPath: { "standin" }, getPixelCalibration: { CALIBRATION }] as Server }

    def getSelectedROI() { selection }

    void writeImageRegion(server, request, String path) {
        def part = image.getSubimage(request.x, request.y, request.width, request.height)
        assert javax.imageio.ImageIO.write(part, "TIFF", new File(path))
    }

    void addObjects(objects) { added.addAll(objects) }

    void fireHierarchyUpdate() { updates++ }

    static CALIBRATION = [hasPixelSizeMicrons: { true }, getAveragedPixelSizeMicrons: { 0.1d }] as Calibration
}

interface Server {
    String getPath()
    Calibration getPixelCalibration()
}

interface Calibration {
    boolean hasPixelSizeMicrons()
    double getAveragedPixelSizeMicrons()
}

Recorder.image = javax.imageio.ImageIO.read(new File(args[1]))
qupath.lib.regions.RegionRequest.whole = [Recorder.image.width, Recorder.image.height]
if (args.length > 3) Recorder.selection = new java.awt.Rectangle(*args[3..6]*.toInteger())
def how = new CompilerConfiguration(scriptBaseClass: Recorder.name)
new GroovyShell(this.class.classLoader, new Binding(), how).evaluate(new File(args[0]))
new File(args[2]).text = JsonOutput.toJson([objects: Recorder.added, updates: Recorder.updates])
